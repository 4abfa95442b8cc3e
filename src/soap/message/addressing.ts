/** WS-Addressing 2004/03: headers of a message, endpoint references, headers of what is sent. */
import { Fault } from '../../lease/faults.ts';
import { ADDRESSING, clark, SOAP_ENVELOPE, type Clark } from '../names.ts';
import { escapeXml } from '../xml/escape.ts';
import { childOf, elementsOf, makeElement, textOf, type XmlElement } from '../xml/tree.ts';
import { writeXml } from '../xml/write.ts';
import type { Addressing, EndpointReference } from './types.ts';

const wsa = (local: string): Clark => clark(ADDRESSING, local);
export const RELATES_TO: Clark = wsa('RelatesTo');
const MUST_UNDERSTAND: Clark = clark(SOAP_ENVELOPE, 'mustUnderstand');
/** Attributes of header blocks that are no part of a reference property. */
const OF_THE_BLOCK: readonly Clark[] = [MUST_UNDERSTAND, clark(SOAP_ENVELOPE, 'actor')];
const UNDERSTOOD: ReadonlySet<Clark> = new Set(['MessageID', 'RelatesTo', 'To', 'Action', 'From', 'ReplyTo', 'FaultTo'].map(wsa));

export const isAddressing = (name: Clark): boolean => UNDERSTOOD.has(name);

/** `relatesTo` holds every header of that name. */
export function readAddressing(headers: ReadonlyMap<Clark, XmlElement>, relatesTo: readonly XmlElement[]): Addressing {
  const text = (local: string): string | undefined => {
    const header = headers.get(wsa(local));
    return header === undefined ? undefined : textOf(header).trim();
  };
  const endpoint = (local: string): EndpointReference | undefined => {
    const header = headers.get(wsa(local));
    return header === undefined ? undefined : readEndpoint(header);
  };
  return {
    messageId: text('MessageID'), to: text('To'), action: text('Action'),
    from: endpoint('From'), replyTo: endpoint('ReplyTo'), faultTo: endpoint('FaultTo'),
    relatesTo: relatesTo.map((r) => textOf(r).trim()),
  };
}

/** Of an element of any name, as EPR files have it. */
export function readEndpoint(element: XmlElement): EndpointReference {
  const address = childOf(element, wsa('Address'));
  if (address === undefined) throw new Fault('RequestMalformed', `The endpoint reference ${element.local} has no Address.`);
  const properties = childOf(element, wsa('ReferenceProperties'));
  return { address: textOf(address).trim(), properties: properties === undefined ? [] : elementsOf(properties) };
}

/** As the codec encodes an EndpointReferenceType. Grid containers write the empty element at the end, and some clients look for it. */
export function endpointValue({ address, properties }: EndpointReference): Readonly<Record<string, unknown>> {
  return { Address: { $: address }, ReferenceProperties: { any: properties }, any: [REFERENCE_PARAMETERS] };
}
const REFERENCE_PARAMETERS = makeElement({ ns: ADDRESSING, local: 'ReferenceParameters' }, { prefixes: { wsa: ADDRESSING } });

export interface OutgoingHeaders {
  readonly messageId: string;
  /** Absent in answers that are faults. */
  readonly to: string | undefined;
  readonly action: string;
  readonly from: EndpointReference | undefined;
  readonly relatesTo: string | undefined;
  /** Reference properties of the endpoint that it is sent to. */
  readonly properties?: readonly XmlElement[];
}

/** Header blocks; `soapenv` and `wsa` are declared by the envelope. */
export function headerText(h: OutgoingHeaders): string {
  return block('MessageID', escapeXml(h.messageId))
    + (h.to === undefined ? '' : block('To', escapeXml(h.to)))
    + block('Action', escapeXml(h.action))
    + (h.from === undefined ? '' : block('From', endpointText(h.from)))
    + (h.relatesTo === undefined ? '' : block('RelatesTo', escapeXml(h.relatesTo), ' RelationshipType="wsa:Reply"'))
    + (h.properties ?? []).map((p) => writeXml(p, OF_THE_BLOCK)).join('');
}

const block = (local: string, inner: string, attributes = ''): string => `<wsa:${local}${attributes} soapenv:mustUnderstand="0">${inner}</wsa:${local}>`;

function endpointText({ address, properties }: EndpointReference): string {
  const inner = properties.map((p) => writeXml(p, OF_THE_BLOCK)).join('');
  return `<wsa:Address>${escapeXml(address)}</wsa:Address>${inner === '' ? '' : `<wsa:ReferenceProperties>${inner}</wsa:ReferenceProperties>`}`;
}
