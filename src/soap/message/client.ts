/** The other side: requests that we send, as notifications and the command line do, and what comes back. */
import { Fault } from '../../lease/faults.ts';
import { ANONYMOUS, clark, SOAP_ENVELOPE, type Clark } from '../names.ts';
import type { Codec, SoapValue } from '../schema/codec.ts';
import { readXml } from '../xml/read.ts';
import { childOf, elementsOf, textOf, type XmlElement } from '../xml/tree.ts';
import { headerText } from './addressing.ts';
import { envelopeText, readMessage } from './envelope.ts';
import type { EndpointReference, SoapMessage } from './types.ts';

export interface OutgoingRequest {
  readonly to: EndpointReference;
  readonly action: string;
  /** `uuid:…` */
  readonly messageId: string;
  /** XML of the body's element, as the codec encodes it. */
  readonly body: string;
}

export function requestEnvelope({ to, action, messageId, body }: OutgoingRequest): string {
  const from = { address: ANONYMOUS, properties: [] };
  return envelopeText(headerText({ messageId, to: to.address, action, from, relatesTo: undefined, properties: to.properties }), body);
}

/** A fault that was answered. */
export interface ReceivedFault {
  /** Without its prefix. */
  readonly code: string;
  readonly text: string;
  /** Name of the detail's first element that the schema knows, or of its first element. */
  readonly element: Clark | undefined;
  /** Decoded, when the schema knows it. */
  readonly detail: SoapValue;
  /** Descriptions of the fault and of its causes, outermost first, each once. */
  readonly descriptions: readonly string[];
}

export type Reply =
  | { readonly ok: true; readonly message: SoapMessage; readonly value: SoapValue }
  | { readonly ok: false; readonly message: SoapMessage; readonly fault: ReceivedFault };

/** @throws Fault RequestMalformed, SoapFault when it is no SOAP message */
export function readReply(bytes: Buffer, codec: Codec): Reply {
  const message = readMessage(readXml(bytes));
  if (message.body.name !== clark(SOAP_ENVELOPE, 'Fault')) return { ok: true, message, value: codec.decode(message.body) };
  return { ok: false, message, fault: faultOf(message.body, codec) };
}

function faultOf(at: XmlElement, codec: Codec): ReceivedFault {
  const details = elementsOf(childOf(at, 'detail') ?? at);
  const known = childOf(at, 'detail') === undefined ? undefined : details.find((d) => codec.declares(d.name));
  return {
    code: text(at, 'faultcode').replace(/^.*?:/, ''),
    text: text(at, 'faultstring'),
    element: known?.name ?? (childOf(at, 'detail') === undefined ? undefined : details[0]?.name),
    detail: known === undefined ? undefined : decoded(known, codec),
    descriptions: known === undefined ? [] : [...new Set(descriptions(known))],
  };
}

/** A detail that is not what it says is still a fault. */
function decoded(detail: XmlElement, codec: Codec): SoapValue {
  try {
    return codec.decode(detail);
  } catch (e) {
    if (e instanceof Fault) return undefined;
    throw e;
  }
}

/** Of grid containers' faults the innermost descriptions are names of exceptions; those are left out. */
function descriptions(at: XmlElement): string[] {
  return elementsOf(at).flatMap((child) => {
    if (child.local === 'FaultCause') return descriptions(child);
    const said = child.local === 'Description' ? textOf(child).trim() : '';
    return said === '' || /^[a-z]+(?:\.\w+)+$/i.test(said) ? [] : [said];
  });
}

const text = (at: XmlElement, local: string): string => {
  const child = childOf(at, local);
  return child === undefined ? '' : textOf(child).trim();
};
