/** What clients get wrong, by mistake or on purpose: a proper fault, and nothing changed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GROUP, LIFETIME, NOTIFICATION, PROPERTIES, TYPES, WORKSPACE, XPATH_DIALECT } from '../../src/wsrf/wire/names.ts';
import { ask, openWsrfSite, type Asked, type WsrfSite } from './door.ts';

let wsrf: WsrfSite;
let number = 0;
beforeAll(async () => {
  wsrf = await openWsrfSite();
  number = (await wsrf.site.manager.workspaces.create(wsrf.site.alice, { minCount: 1, maxCount: 1, image: 'guest' }))[0]?.number ?? 0;
  await wsrf.site.settled();
});
afterAll(() => wsrf?.close());

const key = (value: string | number, ns: string = WORKSPACE, local = 'WorkspaceKey'): string => `<k:${local} xmlns:k="${ns}">${value}</k:${local}>`;
const DESTROY = `<Destroy xmlns="${LIFETIME}"/>`;
const workspace = (body: string, header = key(number), user?: string): Promise<Asked> => ask(wsrf, 'WorkspaceService', body, header, user);
const stillThere = async (): Promise<void> => {
  await wsrf.site.settled();
  expect((await wsrf.site.manager.workspaces.find(wsrf.site.alice, { number }))[0]?.state).toBe('Running');
};

describe('keys', () => {
  it.each([
    ['two of them', () => key(number) + key(number)],
    ['two that differ', () => key(number) + key(number + 1)],
    ['one of a foreign namespace', () => key(number, 'urn:foreign')],
    ['one of another service', () => key(number, GROUP, 'WorkspaceGroupKey')],
    ['none', () => ''],
    ['an unknown one', () => key(999_999)],
    ['one that is no number', () => key('1 OR 1=1')],
    ['one that is larger than numbers are', () => key('9'.repeat(400))],
    ['a negative one', () => key(-1)],
  ])('%s', async (_, header) => {
    const answer = await workspace(DESTROY, header());
    expect(answer.status).toBe(500);
    expect(answer.text).toMatch(/Fault>/);
    await stillThere();
  });

  it('of another’s workspace are unknown ones', async () => {
    const [mine, none] = [await workspace(DESTROY, key(number), 'bob'), await workspace(DESTROY, key(999_999), 'bob')];
    const same = (a: Asked): string => a.text.replace(/uuid:[0-9a-f-]+|\d{4}-\d\d-\d\dT[\d:.]+Z|999999/g, '').replaceAll(`>${number}<`, '><').replaceAll(`'${number}'`, "''");
    expect(same(mine)).toBe(same(none));
    await stillThere();
  });
});

it('nobody is let in who is not known', async () => {
  const answer = await workspace(DESTROY, key(number), 'mallory');
  expect(answer).toMatchObject({ status: 500, text: expect.stringContaining('nobody is known by this name') as string });
  await stillThere();
});

it('an action that is another than the body’s is refused', async () => {
  const action = '<a:Action xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing">http://www.globus.org/2008/06/workspace/WorkspacePortType/startRequest</a:Action>';
  expect((await workspace(DESTROY, key(number) + action)).status).toBe(500);
  await stillThere();
});

describe('properties', () => {
  it('that there are not', async () => {
    const answer = await workspace(`<GetResourceProperty xmlns="${PROPERTIES}" xmlns:t="${TYPES}">t:nothing</GetResourceProperty>`);
    expect(answer.text).toContain('InvalidResourcePropertyQNameFault');
  });

  const query = (path: string, dialect = XPATH_DIALECT): Promise<Asked> =>
    workspace(`<QueryResourceProperties xmlns="${PROPERTIES}" xmlns:t="${TYPES}"><QueryExpression Dialect="${dialect}">${path.replace(/&/g, '&amp;').replace(/</g, '&lt;')}</QueryExpression></QueryResourceProperties>`);

  it.each([
    ['//t:state', /<\w+:state[^>]*>Running</],
    ['string(//t:state)', />Running<\/\w+:QueryResourcePropertiesResponse/],
    ['count(//*[local-name()="nic"])', />1<\/\w+:QueryResourcePropertiesResponse/],
    ['//t:state = "Running"', />true</],
    ['//t:nothing', /QueryResourcePropertiesResponse/],
    ['/*/*[1]/@*', /QueryResourcePropertiesResponse/],
    ['//text()', /Running/],
  ])('are found by %s', async (path, found) => {
    const answer = await query(path);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).toMatch(found);
  });

  it.each([
    ['an expression that is none', '//t:state[', 'InvalidQueryExpressionFault'],
    ['a prefix that nobody declared', '//u:state', 'InvalidQueryExpressionFault'],
    ['a function that there is not', 'document("/etc/passwd")', 'InvalidQueryExpressionFault'],
    ['a variable', '$x', 'InvalidQueryExpressionFault'],
    ['an expression too long', `//t:state${' '.repeat(2000)}| //t:state`, 'InvalidQueryExpressionFault'],
    ['one nested too deeply', `${'('.repeat(200)}1${')'.repeat(200)}`, 'InvalidQueryExpressionFault'],
    ['one that walks everything for everything', '//*[//*[//*[//*[//*[//*]]]]]', 'QueryEvaluationErrorFault'],
    ['one that multiplies', `count(//*${'/ancestor-or-self::*/descendant-or-self::*'.repeat(12)})`, 'QueryEvaluationErrorFault'],
  ])('are not searched by %s', async (_, path, fault) => {
    const answer = await query(path);
    expect(answer.status).toBe(500);
    expect(answer.text).toContain(fault);
  });

  it('are not searched in another language', async () => {
    expect((await query('/', 'http://www.w3.org/TR/xpath20')).text).toContain('UnknownQueryExpressionDialectFault');
  });
});

describe('termination times', () => {
  const set = (time: string): Promise<Asked> => workspace(`<SetTerminationTime xmlns="${LIFETIME}"><RequestedTerminationTime${time}</RequestedTerminationTime></SetTerminationTime>`);

  it('beyond policy, and none, are refused', async () => {
    expect((await set(`>${new Date(Date.now() + 400 * 86_400_000).toISOString()}`)).text).toContain('TerminationTimeChangeRejectedFault');
    expect((await set(' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true">')).text).toContain('TerminationTimeChangeRejectedFault');
    await stillThere();
  });

  it('within it move the end', async () => {
    const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 7_200_000);
    expect((await set(`>${at.toISOString()}`)).text).toContain(at.toISOString());
    expect((await wsrf.site.manager.workspaces.find(wsrf.site.alice, { number }))[0]?.endsAt).toBe(at.getTime());
  });
});

it('a subscription with a precondition, and one that ends in the past, is refused', async () => {
  const subscribe = (more: string): Promise<Asked> => workspace(`<Subscribe xmlns="${NOTIFICATION}" xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing"><ConsumerReference><a:Address>http://192.0.2.1/</a:Address></ConsumerReference>
    <TopicExpression Dialect="http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Simple" xmlns:t="${TYPES}">t:currentState</TopicExpression>${more}</Subscribe>`);
  expect((await subscribe(`<Precondition Dialect="${XPATH_DIALECT}">true()</Precondition>`)).text).toContain('SubscribeCreationFailedFault');
  expect((await subscribe('<InitialTerminationTime>2009-01-01T00:00:00Z</InitialTerminationTime>')).text).toContain('SubscribeCreationFailedFault');
});
