/** The listener with handlers that answer from memory, on a socket of the loopback address. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isFault } from '../../src/lease/faults.ts';
import { createDispatcher } from '../../src/soap/dispatch.ts';
import { createListener, type ListenerParts } from '../../src/soap/listener.ts';
import { BaseFault, SoapFault } from '../../src/soap/message/fault.ts';
import type { Dispatcher, DispatcherParts, SoapCall, SoapEndpoint, SoapHandler, SoapOutcome } from '../../src/soap/types.ts';
import type { Descriptions, SoapService } from '../../src/soap/wsdl/types.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { loadOurs } from './describe.ts';

export const PATH = '/wsrf/services/';
export const WS = 'http://www.globus.org/2008/06/workspace';
export const WT = 'http://www.globus.org/2008/06/workspace/types';
export const KEY = `{${WS}}WorkspaceKey`;

export interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly ctx: TestContext;
  readonly descriptions: Descriptions;
  readonly dispatcher: Dispatcher<undefined>;
  /** What reached a handler, in order. */
  readonly calls: SoapCall<string>[];
  readonly outcomes: SoapOutcome[];
  readonly server: Server;
  close(): Promise<void>;
}

export interface TestServices {
  /** By `Service.operation`; others answer nothing that can be encoded. */
  readonly handlers?: Readonly<Record<string, SoapHandler<string>>>;
  readonly admit?: DispatcherParts<undefined, string>['admit'];
  readonly listener?: Partial<ListenerParts<undefined>>;
}

export async function startServices({ handlers = {}, admit = () => ({ context: 'somebody' }), listener = {} }: TestServices = {}): Promise<TestServer> {
  const ctx = testContext();
  const descriptions = loadOurs();
  const calls: SoapCall<string>[] = [];
  const outcomes: SoapOutcome[] = [];
  const endpoint = (service: SoapService): SoapEndpoint<string> => ({
    ...(service.name === 'WorkspaceService' ? { key: KEY } : {}),
    handlers: Object.fromEntries([...service.operations.keys()].map((operation) => [operation, (call: SoapCall<string>) => {
      calls.push(call);
      return handlers[`${service.name}.${operation}`]?.(call) ?? {};
    }])),
  });
  const dispatcher = createDispatcher<undefined, string>({
    ctx, descriptions, admit,
    endpoints: Object.fromEntries([...descriptions.services.values()].map((s) => [s.name, endpoint(s)])),
    translate: (error) => (isFault(error) ? new BaseFault(`{${WT}}WorkspaceCreationFault`, error.text) : new SoapFault('Server', 'internal')),
    observe: (outcome) => outcomes.push(outcome),
  });
  const server = createServer(createListener({
    ctx, dispatcher, descriptions, path: PATH, maxBodyBytes: 100_000, bodyMs: 10_000, transport: () => undefined,
    origin: (request) => `http://${request.headers.host ?? ''}`, ...listener,
  }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${PATH}`, port, ctx, descriptions, dispatcher, calls, outcomes, server,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
