/** Expanded names, and the namespaces that every message has. */

/** An expanded name as text: `{namespace}local`, or `local` alone where there is no namespace. */
export type Clark = string;

export interface QName {
  /** Empty without a namespace. */
  readonly ns: string;
  readonly local: string;
}

export const SOAP_ENVELOPE = 'http://schemas.xmlsoap.org/soap/envelope/';
/** WS-Addressing of March 2004, the draft that grid clients speak. */
export const ADDRESSING = 'http://schemas.xmlsoap.org/ws/2004/03/addressing';
export const ANONYMOUS = `${ADDRESSING}/role/anonymous`;
export const FAULT_ACTION = `${ADDRESSING}/fault`;
export const BASE_FAULTS = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-BaseFaults-1.2-draft-01.xsd';
export const SCHEMA = 'http://www.w3.org/2001/XMLSchema';
export const SCHEMA_INSTANCE = 'http://www.w3.org/2001/XMLSchema-instance';
export const NIL = `{${SCHEMA_INSTANCE}}nil`;
export const XML = 'http://www.w3.org/XML/1998/namespace';
export const XMLNS = 'http://www.w3.org/2000/xmlns/';

export const clark = (ns: string, local: string): Clark => (ns === '' ? local : `{${ns}}${local}`);

export function qname(name: Clark): QName {
  const end = name.startsWith('{') ? name.indexOf('}') : -1;
  return end < 0 ? { ns: '', local: name } : { ns: name.slice(1, end), local: name.slice(end + 1) };
}
