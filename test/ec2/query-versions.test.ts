/** What Query's answers say of a version's own time: old clients' parsers know no elements that came later. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { all, first, openSiteDoor, type SiteDoor } from './site-door.ts';

let door: SiteDoor;
let id: string;
beforeAll(async () => {
  door = await openSiteDoor();
  id = await door.run();
});
afterAll(() => door.close());

const at = (Version: string, Action: string, more: Readonly<Record<string, string>> = {}) => door.ask({ Version, Action, ...more });

describe('an answer in a version of 2010', () => {
  it('has no rules of egress and no ids of groups', async () => {
    const { status, body } = await at('2010-08-31', 'DescribeSecurityGroups');
    expect(status).toBe(200);
    expect(body).toContain('<DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2010-08-31/">');
    expect(body).toContain('<groupName>default</groupName>');
    expect(body).not.toMatch(/ipPermissionsEgress|groupId|vpcId/);
    expect((await at('2011-05-15', 'DescribeSecurityGroups')).body).toMatch(/<groupId>sg-.*<ipPermissionsEgress><item>/);
  });

  it('names groups by name, and has tags from 2010-08-31 on', async () => {
    const then = await at('2010-08-31', 'DescribeInstances');
    expect([first(then, 'instanceId'), first(then, 'groupId')]).toEqual([id, 'default']);
    expect(then.body).toMatch(/<rootDeviceType>ebs<.*<tagSet>/s);
    expect(then.body).not.toContain('networkInterfaceSet');
    const before = await at('2010-06-15', 'DescribeInstances');
    expect(before.body).toContain('<rootDeviceType>ebs<');
    expect(before.body).not.toContain('tagSet');
    expect(first(await at('2016-11-15', 'DescribeInstances'), 'groupId')).toMatch(/^sg-/);
  });

  it('between two SOAP versions has the later one\'s elements', async () => {
    const [boot, first2009] = [await at('2009-11-30', 'DescribeInstances'), await at('2009-04-04', 'DescribeInstances')];
    expect(boot.body).toContain('<rootDeviceType>ebs<');
    expect(first2009.body).toContain('<monitoring>');
    expect(first2009.body).not.toContain('rootDeviceType');
  });

  it('is as of today for actions that came later, and where it pages', async () => {
    expect((await at('2010-08-31', 'DescribeInstanceStatus')).body).toContain('<instanceStatusSet>');
    for (let i = 0; i < 5; i++) await door.run();
    const page = await at('2010-08-31', 'DescribeInstances', { MaxResults: '5' });
    expect(all(page, 'instanceId')).toHaveLength(5);
    expect(first(page, 'nextToken')).not.toBe('');
  });

  it('says of ended instances what the version calls it', async () => {
    const states = async (version: string): Promise<string> => (await at(version, 'TerminateInstances', { 'InstanceId.1': await door.run() })).body;
    expect(await states('2008-05-05')).toContain('<shutdownState>');
    expect(await states('2010-08-31')).toContain('<currentState>');
  });
});
