/** Faults as XML, in the form of grid containers: a typed detail, and beside it the name of their exception. */
import type { Codec } from '../schema/codec.ts';
import { escapeXml } from '../xml/escape.ts';
import { endpointValue } from './addressing.ts';
import { SoapFault, type BaseFault, type FaultCause } from './fault.ts';
import type { EndpointReference } from './types.ts';

const AXIS = 'http://xml.apache.org/axis/';
/** Of causes within causes; what is deeper is cut off. */
const MAX_DEPTH = 20;

/** `now` and `originator` complete what derives from BaseFaultType. */
export function faultText(fault: BaseFault | SoapFault, codec: Codec, now: number, originator: EndpointReference): string {
  if (fault instanceof SoapFault) return element(fault.faultcode, fault.message, '');
  const value = { ...cause({ description: fault.description, causes: fault.causes }, now, MAX_DEPTH), Originator: endpointValue(originator) };
  const beside = fault.exceptionName === undefined ? '' : `<axis:exceptionName xmlns:axis="${AXIS}">${escapeXml(fault.exceptionName)}</axis:exceptionName>`;
  return element('Server.generalException', '', `<detail>${codec.encode(fault.element, value)}${beside}</detail>`);
}

function element(code: string, text: string, detail: string): string {
  return `<soapenv:Fault><faultcode>soapenv:${code}</faultcode><faultstring>${escapeXml(text)}</faultstring>${detail}</soapenv:Fault>`;
}

function cause({ description, causes }: FaultCause, now: number, depth: number): Readonly<Record<string, unknown>> {
  return {
    Timestamp: now,
    Description: description === undefined || description === '' ? [] : [{ $: description }],
    FaultCause: depth === 0 ? [] : (causes ?? []).map((c) => cause(c, now, depth - 1)),
  };
}

