/**
 * One SOAP request, from its bytes to the bytes of its answer. Order: the message is read within its limits, the signature is
 * checked, and from then on only what was signed is looked at: the body's element says version and action, never a header.
 */
import { Fault } from '../../lease/faults.ts';
import type { Log } from '../../platform/context.ts';
import { readMessage } from '../../soap/message/envelope.ts';
import { SoapFault } from '../../soap/message/fault.ts';
import type { SoapMessage } from '../../soap/message/types.ts';
import type { Clark } from '../../soap/names.ts';
import { readXml, XML_LIMITS } from '../../soap/xml/read.ts';
import { asFault, elapsed, perform, report, type Answer, type DoorParts, type DoorRequest } from '../door.ts';
import { shown } from '../inputs.ts';
import { written } from '../long-answers.ts';
import { notOffered } from '../not-offered.ts';
import type { Frame } from '../xml.ts';
import type { SoapSigners } from './authenticate.ts';
import { ENVELOPE, soapRefusal } from './fault.ts';
import { readRequest } from './read.ts';
import { SOAP_TABLES, type SoapAction, type SoapVersionTable } from './versions.ts';

export interface SoapDoorParts extends DoorParts {
  readonly signers: SoapSigners;
}

const SECURITY: Clark = '{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}Security';
/** More than requests need, and less than grid clients may send. */
const LIMITS = { ...XML_LIMITS, bytes: 1024 * 1024, depth: 40, nodes: 20_000 };

/** By what it says of itself; where it does not say, by how it begins. */
export function isSoap({ method, contentType, body }: Pick<DoorRequest, 'method' | 'contentType' | 'body'>): boolean {
  return method === 'POST' && (contentType === undefined ? /^(?:\ufeff)?\s*</.test(body.subarray(0, 64).toString()) : saysXml(contentType));
}
export const saysXml = (contentType: string): boolean => /^\s*(?:text|application)\/(?:soap\+)?xml\b/i.test(contentType);

export async function answerSoap(parts: SoapDoorParts, request: DoorRequest): Promise<Answer> {
  const begun = parts.ctx.clock.monotonic();
  const log = (): Log => parts.ctx.log.child({ requestId: request.id });
  let action = '';
  try {
    const received = readMessage(readXml(request.body, LIMITS));
    checkUnderstood(received);
    action = shown(received.body.local);
    const signer = await parts.signers.authenticate(request.body);
    parts.throttle?.take(signer.account.accountId);
    const { body } = readMessage(readXml(signer.message, LIMITS));
    const { table, action: { operation, request: fields, write } } = findAction(body.ns, body.local);
    const who = { account: { ...signer.account, limited: signer.limited }, signatureId: signer.signatureId, validUntil: signer.validUntil };
    const values = await perform(parts, request, who, operation, readRequest(body, fields));
    if (operation.mutates) log().info(operation.name, { user: signer.account.name, soap: table.version, ms: elapsed(parts.ctx, begun) });
    return { status: 200, body: await written(write, values, responseFrame(operation.name, table, request.id)) };
  } catch (e) {
    if (e instanceof SoapFault) {
      log().debug('request refused', { action, reason: e.message });
      return soapRefusal(e, request.id);
    }
    const fault = asFault(e);
    report(log(), action, fault, e);
    parts.ctx.meter?.refused('ec2', fault.code);
    return soapRefusal(fault, request.id);
  }
}

function responseFrame(name: string, { namespace, requestId }: SoapVersionTable, id: string): Frame {
  const [before, after] = ENVELOPE;
  return [`${before}<${name}Response xmlns="${namespace}">${requestId ? `<requestId>${id}</requestId>` : ''}`, `</${name}Response>${after}`];
}

/** Of the message as it came: a block that insists may stand outside of what was signed. */
function checkUnderstood({ mandatory }: SoapMessage): void {
  const strange = mandatory.find((name) => name !== SECURITY);
  if (strange !== undefined) throw new SoapFault('MustUnderstand', `The header ${shown(strange)} must be understood, and is not.`);
}

function findAction(namespace: string, name: string): { table: SoapVersionTable; action: SoapAction } {
  const table = SOAP_TABLES.get(namespace);
  if (table === undefined) throw new Fault('VersionUnknown', `The namespace ${shown(namespace)} is of no version that is served here: they are ${[...SOAP_TABLES.values()].map((t) => t.version).join(', ')}, as http://ec2.amazonaws.com/doc/2010-08-31/.`);
  const action = table.actions.get(name);
  if (action !== undefined) return { table, action };
  if (table.absent.has(name)) throw notOffered(name, `The action ${name} is of version ${table.version}, but this service does not have it`);
  throw new Fault('ActionUnknown', `The action ${shown(name)} is not valid for this web service in version ${table.version}.`);
}

