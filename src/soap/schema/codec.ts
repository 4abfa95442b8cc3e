/** The surface of the codec: elements to plain objects and back, by declarations of the schema. See README, "Values". */
import type { Clark } from '../names.ts';
import type { XmlElement } from '../xml/tree.ts';

export type SoapValue = unknown;
export type SoapObject = Readonly<Record<string, unknown>>;

/** Parts as written; `{ seconds: 0 }` is `PT0S`. */
export interface Duration {
  readonly negative?: true;
  readonly years?: number;
  readonly months?: number;
  readonly days?: number;
  readonly hours?: number;
  readonly minutes?: number;
  /** May have a fraction. */
  readonly seconds?: number;
}

/** What an `xsd:any` may be given instead of a tree: an element of the schema with its value. */
export interface Typed {
  readonly element: Clark;
  readonly value: SoapValue;
}

export interface Codec {
  /** True for elements that the schema declares globally. */
  declares(element: Clark): boolean;
  /** @throws Fault RequestMalformed, naming the path within the document */
  decode(element: XmlElement, options?: DecodeOptions): SoapValue;
  /** Reads any element as a named type: `<X>` of an EPR file as `{…addressing}EndpointReferenceType`. */
  decodeAs(type: Clark, element: XmlElement, options?: DecodeOptions): SoapValue;
  /** XML of a global element, complete with its declarations of namespaces. Values that do not fit are mistakes of ours: TypeError. */
  encode(element: Clark, value: SoapValue): string;
  encodeAs(type: Clark, element: Clark, value: SoapValue): string;
}

export interface DecodeOptions {
  /** Order, multiplicity, nil and names exactly as the schema says. */
  readonly strict?: boolean;
}

const SOURCES = new WeakMap<object, XmlElement>();

/** The element that this object was decoded from. */
export function sourceOf(value: object): XmlElement | undefined {
  return SOURCES.get(value);
}

export function decodedFrom<T extends object>(value: T, element: XmlElement): T {
  SOURCES.set(value, element);
  return value;
}

export const typed = (element: Clark, value: SoapValue): Typed => ({ element, value });
