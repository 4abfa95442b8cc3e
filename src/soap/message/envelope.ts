/** SOAP 1.1 envelopes: what a request must be before anything in it is looked at. */
import { clark, SOAP_ENVELOPE, type Clark } from '../names.ts';
import { attributeOf, elementsOf, type XmlElement } from '../xml/tree.ts';
import { readAddressing, RELATES_TO } from './addressing.ts';
import { SoapFault } from './fault.ts';
import type { SoapMessage } from './types.ts';

const ACTOR: Clark = clark(SOAP_ENVELOPE, 'actor');
const MUST_UNDERSTAND: Clark = clark(SOAP_ENVELOPE, 'mustUnderstand');
const NEXT = 'http://schemas.xmlsoap.org/soap/actor/next';

/** @throws SoapFault VersionMismatch, Client */
export function readMessage(envelope: XmlElement): SoapMessage {
  if (envelope.local !== 'Envelope') throw client(`The message must be a SOAP envelope, not ${envelope.name}.`);
  if (envelope.ns !== SOAP_ENVELOPE) throw new SoapFault('VersionMismatch', 'Only SOAP 1.1 is spoken here.');
  const [first, ...rest] = elementsOf(envelope);
  const header = first?.name === clark(SOAP_ENVELOPE, 'Header') ? first : undefined;
  const [body, ...extra] = header === undefined ? [first, ...rest] : rest;
  if (body?.name !== clark(SOAP_ENVELOPE, 'Body') || extra.length > 0) throw client('The envelope must hold one Body, after at most one Header.');
  const [child, second] = elementsOf(body);
  if (child === undefined || second !== undefined) throw client('The Body must hold one element.');
  return messageOf(envelope, header === undefined ? [] : elementsOf(header), child);
}

function messageOf(envelope: XmlElement, blocks: readonly XmlElement[], body: XmlElement): SoapMessage {
  const headers = new Map<Clark, XmlElement>();
  const mandatory: Clark[] = [];
  const relatesTo: XmlElement[] = [];
  for (const block of blocks) {
    const actor = attributeOf(block, ACTOR);
    if (actor !== undefined && actor !== '' && actor !== NEXT) continue;
    if (block.name === RELATES_TO) relatesTo.push(block);
    // Two of one name: whoever checks the one may not be whoever acts on the other.
    else if (headers.has(block.name)) throw client(`The header ${block.name} stands there twice.`);
    if (!headers.has(block.name)) headers.set(block.name, block);
    if (isTrue(attributeOf(block, MUST_UNDERSTAND))) mandatory.push(block.name);
  }
  return { envelope, headers, mandatory, body, addressing: readAddressing(headers, relatesTo) };
}

const isTrue = (value: string | undefined): boolean => value === '1' || value === 'true';
const client = (message: string): SoapFault => new SoapFault('Client', message);

const OPEN = `<soapenv:Envelope xmlns:soapenv="${SOAP_ENVELOPE}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/03/addressing">`;

/** `header` and `body` are XML that needs no prefixes but soapenv, xsd, xsi and wsa. */
export function envelopeText(header: string, body: string): string {
  return `${OPEN}<soapenv:Header>${header}</soapenv:Header><soapenv:Body>${body}</soapenv:Body></soapenv:Envelope>`;
}
