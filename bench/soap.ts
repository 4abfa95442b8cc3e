/**
 * The SOAP layer alone, handlers answering from memory: CPU of a request from its bytes to the bytes of its answer, beside
 * what reading its XML takes.
 */
import { testContext } from '../test/support/context.ts';
import { packageFile } from '../src/platform/package-file.ts';
import { createDispatcher } from '../src/soap/dispatch.ts';
import { endpointValue } from '../src/soap/message/addressing.ts';
import { requestEnvelope } from '../src/soap/message/client.ts';
import { SoapFault } from '../src/soap/message/fault.ts';
import { typed } from '../src/soap/schema/codec.ts';
import type { SoapHandler } from '../src/soap/types.ts';
import { loadDescriptions } from '../src/soap/wsdl/load.ts';
import { makeElement } from '../src/soap/xml/tree.ts';
import { readXml } from '../src/soap/xml/read.ts';
import { median } from './support/service.ts';

const WS = 'http://www.globus.org/2008/06/workspace';
const WT = `${WS}/types`;
const ROUNDS = 5;
const REQUESTS = 4000;

const { services, codec, ...rest } = loadDescriptions(packageFile('wsdl'), ['workspace/factory_service.wsdl', 'workspace/instance_service.wsdl']);
const descriptions = { services, codec, ...rest };
const key = makeElement({ ns: WS, local: 'WorkspaceKey' }, { children: ['12'] });
const epr = endpointValue({ address: 'https://host:8443/wsrf/services/WorkspaceService', properties: [key] });
const schedule = { ActualInstantiationTime: 0, Duration: { seconds: 3600 }, ActualTerminationTime: 0 };
const networking = { nic: [{ name: 'eth0', MAC: 'A2:AA:BB:8B:52:A5', ipConfig: { acquisitionMethod: 'AllocateAndConfigure', hostname: 'pub0099', ipAddress: '192.168.0.100', netmask: '255.255.0.0', gateway: '192.168.0.1', broadcast: '192.168.255.255' }, association: 'public' }] };
const nic = { name: 'eth0', ipConfig: { acquisitionMethod: 'AllocateAndConfigure' }, association: 'public' };
const order = {
  metadata: {
    name: 'http://example/image', logistics: { networking: { nic: [nic] } },
    definition: { requirements: { CPUArchitecture: { CPUArchitectureName: 'x86' }, VMM: { type: 'Xen', version: ['3'] } }, diskCollection: { rootVBD: { location: 'cumulus://h/x', mountAs: 'sda1', permissions: 'ReadWrite' } } },
  },
  resourceRequest: { DeploymentTime: { minDuration: { minutes: 30 } }, InitialState: 'Running', ResourceAllocation: { IndividualPhysicalMemory: { Exact: [256] } }, NodeNumber: 1, ShutdownMechanism: 'Trash' },
};
const document = {
  currentState: { state: 'Running' }, schedule, ResourceAllocation: { IndividualPhysicalMemory: { Exact: [256] } }, logistics: { networking }, FixedTopicSet: false,
  Topic: [{ $: { ns: WT, local: 'currentState' } }], TerminationTime: 0, TopicExpressionDialects: ['http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Simple'], CurrentTime: 0,
};

const CASES: ReadonlyArray<{ service: string; operation: string; input: unknown; output: unknown }> = [
  { service: 'WorkspaceService', operation: 'GetResourceProperty', input: { ns: WT, local: 'currentState' }, output: { any: [typed(`{${WT}}currentState`, { state: 'Running' })] } },
  { service: 'WorkspaceService', operation: 'QueryResourceProperties', input: { QueryExpression: { $: '/', '@Dialect': 'http://www.w3.org/TR/1999/REC-xpath-19991116' } }, output: { any: [typed(`{${WS}}ServiceRPSet`, document)] } },
  { service: 'WorkspaceFactoryService', operation: 'create', input: order, output: { CreatedWorkspace: [{ epr, schedule, networking }], GroupEPR: null, EnsembleEPR: null, ContextEPR: null } },
];

const answers = new Map(CASES.map((c) => [`${c.service}.${c.operation}`, c.output]));
const dispatcher = createDispatcher<undefined, undefined>({
  ctx: testContext(), descriptions, admit: () => ({ context: undefined }), translate: (e) => new SoapFault('Server', String(e)),
  endpoints: Object.fromEntries([...services.values()].map((s) => [s.name, {
    key: `{${WS}}WorkspaceKey`,
    handlers: Object.fromEntries([...s.operations.keys()].map((o): [string, SoapHandler<undefined>] => [o, () => answers.get(`${s.name}.${o}`) ?? {}])),
  }])),
});

/** Median over rounds of the CPU, in ms, of one call; a round before them is not counted. */
async function cpuOf(call: () => unknown): Promise<number> {
  const rounds: number[] = [];
  for (let i = 0; i <= ROUNDS; i++) {
    const before = process.cpuUsage();
    for (let n = 0; n < REQUESTS; n++) await call();
    const { user, system } = process.cpuUsage(before);
    if (i > 0) rounds.push((user + system) / 1000 / REQUESTS);
  }
  return median(rounds);
}

for (const { service, operation, input } of CASES) {
  const found = services.get(service)?.operations.get(operation);
  if (found === undefined) throw new Error(`no operation ${operation}`);
  const address = `https://host:8443/wsrf/services/${service}`;
  const bytes = Buffer.from(requestEnvelope({ to: { address, properties: [key] }, action: found.action, messageId: 'uuid:bd9f0ec0-e686-11f1-a8ac-9903129f5cc3', body: codec.encode(found.input, input) }));
  const request = { id: 'bench', service, address, soapAction: `"${found.action}"`, bytes, transport: undefined };
  const outcome = await dispatcher.answer(request);
  if (outcome.status !== 200) throw new Error(outcome.body);
  const all = await cpuOf(() => dispatcher.answer(request));
  const reading = await cpuOf(() => readXml(bytes));
  console.log(`${operation.padEnd(24)} ${all.toFixed(3)} ms of CPU, ${(1000 / all).toFixed(0)}/s per core; ${reading.toFixed(3)} ms of it read ${bytes.length} bytes of XML (${(all / reading).toFixed(1)} times reading alone)`);
}
