/** Every operation by zeep, a strict reader of WSDL that is not ours: it takes our answers and we take its requests. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BaseFault } from '../../src/soap/message/fault.ts';
import { endpointValue } from '../../src/soap/message/addressing.ts';
import { typed } from '../../src/soap/schema/codec.ts';
import { makeElement } from '../../src/soap/xml/tree.ts';
import { hasPart } from '../parts.ts';
import { startZeep, type ZeepAnswer, type ZeepSession } from '../support/zeep.ts';
import { startServices, WS, WT, type TestServer } from './server.ts';

const WSNT = 'http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd';
const WSRL = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceLifetime-1.2-draft-01.xsd';
const WSRP = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd';
const KEY: readonly [string, string] = [`{${WS}}WorkspaceKey`, '12'];
const NOON = Date.parse('2026-01-31T12:00:00.250Z');

const epr = endpointValue({ address: 'https://h:8443/wsrf/services/WorkspaceService', properties: [makeElement({ ns: WS, local: 'WorkspaceKey' }, { children: ['12'] })] });
const schedule = { ActualInstantiationTime: NOON, Duration: { seconds: 3600 }, ActualTerminationTime: NOON };
const networking = { nic: [{ name: 'eth0', MAC: 'A2:AA:BB:8B:52:A5', ipConfig: { acquisitionMethod: 'AllocateAndConfigure', ipAddress: '192.168.0.100' }, association: 'public' }] };
const allocation = { IndividualPhysicalMemory: { Exact: [256] } };
const state = { state: 'Running' };
const properties = { currentState: state, schedule, ResourceAllocation: allocation, logistics: { networking }, FixedTopicSet: false, Topic: [{ $: { ns: WT, local: 'currentState' } }], TerminationTime: null, TopicExpressionDialects: ['urn:d'], CurrentTime: NOON };

let s: TestServer;
let zeep: ZeepSession;

describe.skipIf(!hasPart('zeep'))('zeep', () => {
  beforeAll(async () => {
    const one = (): unknown => ({ any: [typed(`{${WT}}currentState`, state)] });
    s = await startServices({
      handlers: {
        'WorkspaceFactoryService.create': () => ({ CreatedWorkspace: [{ epr, schedule, networking }], GroupEPR: null, EnsembleEPR: epr, ContextEPR: null }),
        'WorkspaceFactoryService.GetResourceProperty': () => ({ any: [typed(`{${WT}}MaximumRunningTime`, { minutes: 60 })] }),
        'WorkspaceService.start': () => { throw new BaseFault(`{${WT}}OperationDisabledFault`, 'not now', { causes: [{ description: 'because' }] }); },
        'WorkspaceService.GetResourceProperty': one,
        'WorkspaceService.GetMultipleResourceProperties': () => ({ any: [typed(`{${WT}}currentState`, state), typed(`{${WSRL}}CurrentTime`, NOON)] }),
        'WorkspaceService.QueryResourceProperties': () => ({ any: [typed(`{${WS}}ServiceRPSet`, properties)] }),
        'WorkspaceService.Subscribe': () => ({ SubscriptionReference: epr }),
        'WorkspaceService.GetCurrentMessage': one,
        'WorkspaceService.SetTerminationTime': () => ({ NewTerminationTime: null, CurrentTime: NOON }),
        'WorkspaceEnsembleService.report': () => ({ report: [{ epr, currentState: state, schedule, networking }] }),
        'WorkspaceStatusService.queryUsedAndReservedTime': () => ({ usedTime: { minutes: 90 }, reservedTime: { minutes: 0 } }),
        'WorkspaceStatusService.queryCurrentWorkspaces': () => ({ oneCurrentWorkspace: [{ epr, currentState: state, schedule, ResourceAllocation: allocation, logistics: { networking }, details: 'node-1' }] }),
        'WorkspaceStatusService.QueryResourceProperties': () => ({ any: [typed('{http://www.globus.org/2008/06/workspace/status}chargeGranularity', 1)] }),
        'SubscriptionManagerService.GetResourceProperty': one,
        'SubscriptionManagerService.SetTerminationTime': () => ({ NewTerminationTime: NOON, CurrentTime: NOON }),
      },
    });
    zeep = startZeep();
  });
  afterAll(async () => {
    await zeep.close();
    await s.close();
  });

  const call = async (service: string, operation: string, input?: unknown, key: readonly [string, string] = KEY): Promise<ZeepAnswer> => zeep.call({ service: `${s.url}${service}`, operation, key, input });
  const value = async (service: string, operation: string, input?: unknown): Promise<unknown> => {
    const answer = await call(service, operation, input);
    if (!answer.ok) throw new Error(JSON.stringify(answer));
    return answer.value;
  };
  const lastInput = (): unknown => s.calls.at(-1)?.input;

  it('creates with all that a request may hold', async () => {
    const created = await value('WorkspaceFactoryService', 'create', {
      metadata: {
        name: 'http://example/image', logistics: { networking: { nic: [{ name: 'eth0', ipConfig: { acquisitionMethod: 'AllocateAndConfigure' }, association: 'public' }] } },
        definition: { requirements: { CPUArchitecture: { CPUArchitectureName: 'x86' }, VMM: { type: 'Xen', version: ['3'] }, kernel: { image: 'file:///k', parameters: 'ro' } }, diskCollection: { rootVBD: { location: 'file:///i', mountAs: 'sda1', permissions: 'ReadWrite' } } },
      },
      resourceRequest: { DeploymentTime: { minDuration: 'PT30M' }, InitialState: 'Running', ResourceAllocation: { IndividualPhysicalMemory: { Exact: [256] } }, NodeNumber: 2, ShutdownMechanism: 'Trash' },
      optionalParameters: { filewrite: [{ content: 'key', pathOnVM: '/root/.ssh/authorized_keys' }], mdServerUserdata: 'data' },
      partOfEnsemble: true, ensembleEPR: { Address: 'https://h/', ReferenceProperties: { $any: ['<e:WorkspaceEnsembleKey xmlns:e="urn:e">7</e:WorkspaceEnsembleKey>'] } },
    });
    expect(created).toMatchObject({
      CreatedWorkspace: [{ epr: { Address: { _value_1: 'https://h:8443/wsrf/services/WorkspaceService' } }, schedule: { ActualInstantiationTime: '2026-01-31T12:00:00.250000Z', Duration: 'PT1H' }, networking: { nic: [{ MAC: 'A2:AA:BB:8B:52:A5' }] } }],
      // What zeep makes of nil.
      GroupEPR: { Address: null }, ContextEPR: { Address: null },
    });
    expect(lastInput()).toMatchObject({
      metadata: { definition: { requirements: { VMM: { type: 'Xen', version: ['3'] }, kernel: { image: 'file:///k', parameters: 'ro' } } } },
      resourceRequest: { NodeNumber: 2, DeploymentTime: { minDuration: { minutes: 30 } }, ResourceAllocation: { IndividualPhysicalMemory: { Exact: [{ $: 256 }] } } },
      optionalParameters: { filewrite: [{ pathOnVM: '/root/.ssh/authorized_keys' }] },
      partOfEnsemble: true, ensembleEPR: { ReferenceProperties: { any: [{ name: '{urn:e}WorkspaceEnsembleKey', children: ['7'] }] } },
    });
  });

  it('names the resource by its key, and a fault by its element', async () => {
    expect(await call('WorkspaceService', 'start')).toMatchObject({ ok: false, element: `{${WT}}OperationDisabledFault`, descriptions: ['not now', 'because'] });
    expect(s.calls.at(-1)).toMatchObject({ key: '12', message: { addressing: { action: `${WS}/WorkspacePortType/startRequest` } } });
  });

  it.each([
    ['WorkspaceService', 'shutdown', { shutdownType: 'ReadyForTransport', PostShutdown: { rootPartitionUnpropagationTarget: 'http://h/x' } }],
    ['WorkspaceService', 'Destroy', undefined],
    ['WorkspaceGroupService', 'start', undefined],
    ['WorkspaceGroupService', 'shutdown', { shutdownType: 'Normal' }],
    ['WorkspaceGroupService', 'Destroy', undefined],
    ['WorkspaceEnsembleService', 'done', undefined],
    ['WorkspaceEnsembleService', 'Destroy', undefined],
    ['SubscriptionManagerService', 'PauseSubscription', undefined],
    ['SubscriptionManagerService', 'ResumeSubscription', undefined],
    ['SubscriptionManagerService', 'Destroy', undefined],
  ])('%s %s has an empty answer', async (service, operation, input) => {
    const answer = await call(service, operation, input);
    expect(answer).toMatchObject({ ok: true });
    expect(lastInput()).toEqual(input ?? {});
  });

  it.each([
    ['WorkspaceService', `{${WT}}currentState`, 'state'],
    ['WorkspaceFactoryService', `{${WT}}MaximumRunningTime`, 'PT1H'],
    ['SubscriptionManagerService', `{${WSRL}}CurrentTime`, 'state'],
  ])('%s GetResourceProperty %s', async (service, name, text) => {
    expect(JSON.stringify(await value(service, 'GetResourceProperty', { $qname: name }))).toContain(text);
    expect(lastInput()).toEqual({ ns: name.slice(1, name.indexOf('}')), local: name.slice(name.indexOf('}') + 1) });
  });

  it('GetMultipleResourceProperties', async () => {
    const got = await value('WorkspaceService', 'GetMultipleResourceProperties', { ResourceProperty: [{ $qname: `{${WT}}currentState` }, { $qname: `{${WSRL}}CurrentTime` }] });
    expect(JSON.stringify(got)).toContain('2026-01-31T12:00:00.250');
    expect(lastInput()).toEqual({ ResourceProperty: [{ ns: WT, local: 'currentState' }, { ns: WSRL, local: 'CurrentTime' }] });
  });

  it.each(['WorkspaceService', 'WorkspaceStatusService'])('%s QueryResourceProperties', async (service) => {
    const xml = `<QueryResourceProperties xmlns="${WSRP}"><QueryExpression Dialect="http://www.w3.org/TR/1999/REC-xpath-19991116">/</QueryExpression></QueryResourceProperties>`;
    const got = await value(service, 'QueryResourceProperties', { $xml: xml });
    expect(JSON.stringify(got)).toContain(service === 'WorkspaceService' ? '192.168.0.100' : '1');
    expect(lastInput()).toMatchObject({ QueryExpression: { $: '/', '@Dialect': 'http://www.w3.org/TR/1999/REC-xpath-19991116' } });
  });

  it('Subscribe and GetCurrentMessage', async () => {
    const topic = `xmlns:t="${WT}" Dialect="http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Simple">t:currentState<`;
    const xml = `<n:Subscribe xmlns:n="${WSNT}" xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing"><n:ConsumerReference><a:Address>http://c/</a:Address><a:ReferenceProperties/><a:ReferenceParameters/></n:ConsumerReference><n:TopicExpression ${topic}/n:TopicExpression><n:InitialTerminationTime>2026-01-31T12:00:00.250Z</n:InitialTerminationTime></n:Subscribe>`;
    expect(await value('WorkspaceService', 'Subscribe', { $xml: xml })).toMatchObject({ Address: { _value_1: 'https://h:8443/wsrf/services/WorkspaceService' } });
    expect(lastInput()).toMatchObject({ ConsumerReference: { Address: { $: 'http://c/' } }, TopicExpression: { $: 't:currentState' }, InitialTerminationTime: NOON });
    expect(JSON.stringify(await value('WorkspaceService', 'GetCurrentMessage', { $xml: `<n:GetCurrentMessage xmlns:n="${WSNT}"><n:Topic ${topic}/n:Topic></n:GetCurrentMessage>` }))).toContain('Running');
  });

  it.each(['WorkspaceService', 'SubscriptionManagerService'])('%s SetTerminationTime', async (service) => {
    expect(await value(service, 'SetTerminationTime', { RequestedTerminationTime: '2026-01-31T12:00:00.250Z' })).toMatchObject({ CurrentTime: '2026-01-31T12:00:00.250000Z', NewTerminationTime: service === 'WorkspaceService' ? null : '2026-01-31T12:00:00.250000Z' });
    expect(lastInput()).toEqual({ RequestedTerminationTime: NOON });
  });

  it('report, status and used time', async () => {
    expect(await value('WorkspaceEnsembleService', 'report', { returnOnlyIfErrorPresent: false, returnOnlyIfAllAtState: 'Running' })).toMatchObject([{ currentState: { state: 'Running' } }]);
    expect(lastInput()).toEqual({ returnOnlyIfErrorPresent: false, returnOnlyIfAllAtState: 'Running' });
    expect(await value('WorkspaceStatusService', 'queryUsedAndReservedTime')).toEqual({ usedTime: 'PT1H30M', reservedTime: 'P0D' });
    expect(await value('WorkspaceStatusService', 'queryCurrentWorkspaces')).toMatchObject([{ details: 'node-1', ResourceAllocation: { IndividualPhysicalMemory: { Exact: [{ _value_1: 256 }] } } }]);
  });

  it('what is no such operation here is its own refusal, not ours', async () => {
    const before = s.calls.length;
    expect(await call('WorkspaceService', 'explode')).toMatchObject({ ok: false, code: 'KeyError' });
    expect(s.calls.length).toBe(before);
  });
});
