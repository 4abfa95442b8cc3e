/**
 * One request from its bytes to the bytes of its answer. Order: the message is read, the caller is admitted, what must be
 * understood is understood, the body names the operation, its input is decoded; only then something is done.
 */
import { isFault } from '../lease/faults.ts';
import { withDeadline } from '../platform/deadline.ts';
import { newRequestId } from '../platform/ids.ts';
import { headerText, isAddressing } from './message/addressing.ts';
import { envelopeText, readMessage } from './message/envelope.ts';
import { faultText } from './message/fault-text.ts';
import { BaseFault, SoapFault } from './message/fault.ts';
import type { EndpointReference, SoapMessage } from './message/types.ts';
import { ANONYMOUS, FAULT_ACTION, type Clark } from './names.ts';
import type { Dispatcher, DispatcherParts, SoapEndpoint, SoapOutcome, SoapRequest } from './types.ts';
import type { SoapOperation, SoapService } from './wsdl/types.ts';
import { readXml } from './xml/read.ts';
import { textOf, type XmlElement } from './xml/tree.ts';

/** Services wait for less; this is the last resort. */
const DEADLINE_MS = 60_000;

/** What is known of a request, more the further it gets. */
interface Progress<C> {
  readonly service: SoapService;
  readonly endpoint: SoapEndpoint<C>;
  message?: SoapMessage;
  operation?: SoapOperation;
  key?: XmlElement;
  context?: C;
}

export function createDispatcher<T, C>(parts: DispatcherParts<T, C>): Dispatcher<T> {
  checkHandlers(parts);
  return {
    async answer(request) {
      const begun = parts.ctx.clock.monotonic();
      const outcome = await answer(parts, request, begun);
      parts.observe?.(outcome, request);
      return outcome;
    },
  };
}

function checkHandlers<T, C>({ descriptions, endpoints }: DispatcherParts<T, C>): void {
  for (const [name, { handlers }] of Object.entries(endpoints)) {
    const service = descriptions.services.get(name);
    if (service === undefined) throw new Error(`no service description of ${name}`);
    const missing = [...service.operations.keys()].filter((o) => !Object.hasOwn(handlers, o));
    const extra = Object.keys(handlers).filter((o) => !service.operations.has(o));
    if (missing.length + extra.length > 0) throw new Error(`${name}: operations without a handler: ${missing.join(', ') || 'none'}; handlers without an operation: ${extra.join(', ') || 'none'}`);
  }
}

async function answer<T, C>(parts: DispatcherParts<T, C>, request: SoapRequest<T>, begun: number): Promise<SoapOutcome> {
  const service = parts.descriptions.services.get(request.service);
  const endpoint = Object.hasOwn(parts.endpoints, request.service) ? parts.endpoints[request.service] : undefined;
  const ms = (): number => parts.ctx.clock.monotonic() - begun;
  if (service === undefined || endpoint === undefined) return { ...absence(parts, request), ms: ms() };
  const at: Progress<C> = { service, endpoint };
  try {
    const result = await withDeadline(parts.ctx.clock, DEADLINE_MS, request.service, perform(parts, request, at));
    return { ...result, operation: at.operation?.name, context: at.context, ms: ms() };
  } catch (error) {
    const { body, fault } = refusal(parts, request, at, error);
    return { status: 500, body, operation: at.operation?.name, context: at.context, error, fault, ms: ms() };
  }
}

/** Nobody is asked who he is to hear that there is nothing. */
function absence<T, C>(parts: DispatcherParts<T, C>, request: SoapRequest<T>): Omit<SoapOutcome, 'ms'> {
  const why = parts.absent?.get(request.service);
  const fault = new SoapFault('Client', why ?? `There is no service ${request.service} here.`);
  const nothing = { operation: undefined, context: undefined, error: fault, fault };
  const text = (from: EndpointReference): string => faultText(fault, parts.descriptions.codec, parts.ctx.clock.now(), from);
  const from = { address: request.address, properties: [] };
  if (why === undefined) return { status: 404, body: envelopeText('', text(from)), ...nothing };
  return { status: 500, body: envelopeText(replyHeaders(parts, request, { message: messageIn(request.bytes) }, FAULT_ACTION, undefined), text(from)), ...nothing };
}

/** For the id that an answer relates to. */
function messageIn(bytes: Buffer): SoapMessage | undefined {
  try {
    return readMessage(readXml(bytes));
  } catch (e) {
    if (isFault(e) || e instanceof SoapFault) return undefined;
    throw e;
  }
}

async function perform<T, C>(parts: DispatcherParts<T, C>, request: SoapRequest<T>, at: Progress<C>): Promise<{ status: number; body: string }> {
  const { codec } = parts.descriptions;
  const read = readMessage(readXml(request.bytes));
  at.message = read;
  const { context, understood = [], message = read } = await parts.admit(read, request);
  at.context = context;
  at.message = message;
  const keyName = at.endpoint.key;
  const key = keyName === undefined ? undefined : message.headers.get(keyName);
  if (key !== undefined) at.key = key;
  checkUnderstood(message, [...understood, ...(keyName === undefined ? [] : [keyName])]);
  const operation = operationOf(at.service, at.endpoint, message, request.soapAction);
  at.operation = operation;
  const handler = at.endpoint.handlers[operation.name];
  if (handler === undefined) throw new Error(`no handler of ${operation.name}`);
  const output = await handler({
    context, service: at.service, operation, message, address: request.address, requestId: request.id,
    key: key === undefined ? undefined : textOf(key).trim(),
    input: codec.decode(message.body),
  });
  if (operation.output === undefined) return { status: 202, body: '' };
  return { status: 200, body: envelopeText(replyHeaders(parts, request, at, operation.responseAction, ANONYMOUS), codec.encode(operation.output, output)) };
}

/** Reference properties other than the resource's are understood by being left alone, unless they insist. */
function checkUnderstood(message: SoapMessage, understood: readonly Clark[]): void {
  const strange = message.mandatory.find((name) => !isAddressing(name) && !understood.includes(name));
  if (strange !== undefined) throw new SoapFault('MustUnderstand', `The header ${strange} must be understood, and is not.`);
}

/** The body says what is asked. Where an action is given besides, it must not say anything else. */
function operationOf<C>(service: SoapService, endpoint: SoapEndpoint<C>, message: SoapMessage, soapAction: string | undefined): SoapOperation {
  const operation = service.byInput.get(message.body.name);
  if (operation === undefined) throw new SoapFault('Client', `${service.name} has no operation for ${message.body.name}.`);
  if (endpoint.anyAction === true) return operation;
  const given = [['wsa:Action', message.addressing.action], ['SOAPAction', soapAction?.trim().replace(/^"(.*)"$/, '$1').trim()]] as const;
  for (const [where, action] of given) {
    if (action !== undefined && action !== '' && action !== operation.action) throw new SoapFault('Client', `${where} says ${action}, but the body asks for ${operation.name} (${operation.action}).`);
  }
  return operation;
}

type Sender = { readonly message?: SoapMessage | undefined; readonly key?: XmlElement | undefined };

function replyHeaders<T, C>(parts: DispatcherParts<T, C>, request: SoapRequest<T>, at: Sender, action: string, to: string | undefined): string {
  return headerText({ messageId: `uuid:${newRequestId(parts.ctx.random)}`, to, action, from: sender(request, at), relatesTo: at.message?.addressing.messageId });
}

const sender = <T>(request: SoapRequest<T>, at: Sender): EndpointReference => ({ address: request.address, properties: at.key === undefined ? [] : [at.key] });

function refusal<T, C>(parts: DispatcherParts<T, C>, request: SoapRequest<T>, at: Progress<C>, error: unknown): { body: string; fault: BaseFault | SoapFault } {
  const place = { service: at.service, operation: at.operation, key: at.key === undefined ? undefined : textOf(at.key).trim(), requestId: request.id };
  const write = (fault: BaseFault | SoapFault): { body: string; fault: BaseFault | SoapFault } => {
    const text = faultText(fault, parts.descriptions.codec, parts.ctx.clock.now(), sender(request, at));
    return { body: envelopeText(replyHeaders(parts, request, at, FAULT_ACTION, undefined), text), fault };
  };
  try {
    if (error instanceof SoapFault || error instanceof BaseFault) return write(error);
    // What could not be read has no operation whose faults could say so.
    if (isFault(error) && at.message === undefined) return write(new SoapFault('Client', error.text, { cause: error }));
    return write(parts.translate(error, place));
  } catch (e) {
    parts.ctx.log.error('a fault could not be written', { requestId: request.id, service: at.service.name, error: e instanceof Error ? e.stack ?? e.message : String(e) });
    return write(new SoapFault('Server', 'The service failed; its log has the request id.', { cause: error }));
  }
}
