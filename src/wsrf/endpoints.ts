/** Endpoint references: to our own resources, and what clients send back of them. */
import { endpointValue } from '../soap/message/addressing.ts';
import { qname, type Clark } from '../soap/names.ts';
import type { SoapObject } from '../soap/schema/codec.ts';
import { makeElement, textOf, type XmlElement } from '../soap/xml/tree.ts';

/** Of a service beside the one that was asked. */
export function endpoint(address: string, service: string, key: Clark, value: string): SoapObject {
  return endpointValue({ address: beside(address, service), properties: [makeElement(qname(key), { children: [value] })] });
}

export const beside = (address: string, service: string): string => `${address.slice(0, address.lastIndexOf('/') + 1)}${service}`;

/** Undefined when the reference has no such key, or several. */
export function keyOf(reference: SoapObject, key: Clark): string | undefined {
  const { any = [] } = (reference['ReferenceProperties'] ?? {}) as { any?: readonly XmlElement[] };
  const named = any.filter((e) => e.name === key);
  return named.length === 1 && named[0] !== undefined ? textOf(named[0]).trim() : undefined;
}
