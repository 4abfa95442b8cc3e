/** The grid services on one listener: descriptions, handlers, who is let in, what is logged. Sockets and TLS are made elsewhere. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { FAULTS, isFault } from '../lease/faults.ts';
import type { Caller } from '../manager/types.ts';
import type { Log } from '../platform/context.ts';
import type { AddressPolicy } from '../platform/outside/address-policy.ts';
import { createDispatcher } from '../soap/dispatch.ts';
import { createListener } from '../soap/listener.ts';
import type { Admitted, SoapEndpoint, SoapOutcome, SoapRequest } from '../soap/types.ts';
import type { SoapMessage } from '../soap/message/types.ts';
import type { Descriptions } from '../soap/wsdl/types.ts';
import type { WsrfParts } from './call.ts';
import { translate } from './faults.ts';
import { SERVICES_PATH } from './wire/descriptions.ts';
import { KEYS, SERVICES } from './wire/names.ts';
import { ensembleHandlers } from './services/ensemble.ts';
import { factoryHandlers } from './services/factory.ts';
import { groupHandlers } from './services/group.ts';
import { statusHandlers } from './services/status.ts';
import { producerHandlers, subscriptionHandlers } from './services/subscriptions.ts';
import { workspaceHandlers } from './services/workspace.ts';

const BODY_MS = 30_000;

const NO_BROKER = 'This site has no context broker. Give VMs what they need as user data (mdServerUserdata, or files), which cloud-init reads; their addresses are in the answer to create.';
/** Services of the original that there are not here: docs/protocols/wsrf.md, "The context broker". */
const ABSENT: ReadonlyMap<string, string> = new Map(['NimbusContextBroker', 'WorkspaceContextBroker'].map((name) => [name, NO_BROKER]));

/** Of a request that comes to the door: whom its connection or its message shows it to be from. */
export type Identity = Pick<Caller, 'accountId' | 'name' | 'ownerId' | 'admin' | 'limited'>;

export interface DoorParts extends WsrfParts {
  readonly policy: AddressPolicy;
  /** @throws Fault when nobody known asks */
  readonly authenticate: (message: SoapMessage, request: SoapRequest<IncomingMessage>) => Promise<Admitted<Identity>> | Admitted<Identity>;
  /** `https://host:port`, as clients reach the service. */
  readonly origin: (request: IncomingMessage) => string;
}

export function createWsrfDoor(parts: DoorParts, descriptions: Descriptions): (request: IncomingMessage, response: ServerResponse) => void {
  const { ctx, config, authenticate, origin } = parts;
  const dispatcher = createDispatcher<IncomingMessage, Caller>({
    ctx, descriptions, endpoints: endpoints(parts, descriptions), absent: ABSENT, translate,
    async admit(message, request) {
      const admitted = await authenticate(message, request);
      return { ...admitted, context: { ...admitted.context, requestId: request.id, door: 'wsrf' } };
    },
    observe: (outcome, request) => observe(parts, outcome, request),
  });
  return createListener({
    ctx, dispatcher, descriptions, absent: ABSENT, path: SERVICES_PATH, origin, transport: (request) => request, maxBodyBytes: config.wsrf.max_body_bytes, bodyMs: BODY_MS,
  });
}

function endpoints(parts: DoorParts, { codec }: Descriptions): Record<string, SoapEndpoint<Caller>> {
  return {
    [SERVICES.factory]: { handlers: factoryHandlers(parts, codec) },
    [SERVICES.workspace]: { key: KEYS.workspace, handlers: { ...workspaceHandlers(parts, codec), ...producerHandlers(parts, parts.policy) } },
    [SERVICES.group]: { key: KEYS.group, handlers: groupHandlers(parts) },
    [SERVICES.ensemble]: { key: KEYS.ensemble, handlers: ensembleHandlers(parts) },
    [SERVICES.status]: { handlers: statusHandlers(parts, codec) },
    [SERVICES.subscriptions]: { key: KEYS.subscription, handlers: subscriptionHandlers(parts, codec) },
  };
}

const QUERIES = /^(?:Get|Query|query|report)/;

/** Coming a second time it would change nothing. */
export const repeatable = ({ body }: SoapMessage): boolean => QUERIES.test(body.local);

function observe({ ctx }: DoorParts, outcome: SoapOutcome, request: SoapRequest<IncomingMessage>): void {
  const user = (outcome.context as Caller | undefined)?.name;
  // Made when there is something to say: most requests only look.
  const log = (): Log => ctx.log.child({ requestId: request.id, service: request.service });
  const fields = { operation: outcome.operation, user, ms: Math.round(outcome.ms) };
  const { error } = outcome;
  if (error === undefined) {
    if (outcome.operation !== undefined && !QUERIES.test(outcome.operation)) log().info(outcome.operation, fields);
    return;
  }
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (isFault(cause)) ctx.meter?.refused('wsrf', cause.code);
  const known = isFault(cause) || outcome.fault === error;
  if (!known) log().error('request failed', { ...fields, error: error instanceof Error ? error.stack ?? error.message : String(error) });
  else if (isFault(cause) && FAULTS[cause.code].http >= 500) log().warn('request refused', { ...fields, code: cause.code, reason: cause.text });
  else log().debug('request refused', { ...fields, reason: error instanceof Error ? error.message : '' });
}
