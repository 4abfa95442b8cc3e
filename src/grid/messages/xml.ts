/**
 * `@xmldom/xmldom` and `xml-crypto`, with as much of their types as is used here: their own declare the browser's globals for the
 * whole program.
 */
import type { KeyObject } from 'node:crypto';
import { createRequire } from 'node:module';

export interface Attr {
  readonly namespaceURI: string | null;
  readonly localName: string;
  readonly prefix: string | null;
  readonly value: string;
}
export interface Node {
  readonly nodeType: number;
  readonly nextSibling: Node | null;
}
export interface Element extends Node {
  readonly namespaceURI: string | null;
  readonly localName: string;
  readonly prefix: string | null;
  readonly attributes: { readonly length: number; readonly [at: number]: Attr };
  readonly firstChild: Node | null;
  readonly parentNode: Node | null;
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
}

interface Reference {
  readonly uri?: string;
  readonly transforms: readonly string[];
  readonly digestAlgorithm: string;
}
export interface SignedXml {
  readonly signatureAlgorithm?: string;
  readonly canonicalizationAlgorithm?: string;
  /** Local names of attributes that hold identifiers. */
  idAttributes: readonly string[];
  loadSignature(signature: Element): void;
  getReferences(): readonly Reference[];
  /** @throws Error also where the signature is not good */
  checkSignature(text: string): boolean;
  /** Canonical texts, in the order of the references. */
  getSignedReferences(): readonly string[];
}

type Complain = (what: string) => void;
interface Modules {
  readonly '@xmldom/xmldom': { DOMParser: new (options: { errorHandler: { warning: Complain; error: Complain; fatalError: Complain } }) => { parseFromString(text: string, type: 'text/xml'): { documentElement: Element | null } | undefined } };
  readonly 'xml-crypto': { SignedXml: new (options: { publicCert: KeyObject }) => SignedXml };
}
const load = createRequire(import.meta.url) as <K extends keyof Modules>(name: K) => Modules[K];
const { DOMParser } = load('@xmldom/xmldom');
const { SignedXml: Signed } = load('xml-crypto');

/** Whatever the parser complains of is `fail`ed, also what it would overlook. */
export function parseXml(text: string, fail: (what: string) => never): Element {
  return new DOMParser({ errorHandler: { warning: fail, error: fail, fatalError: fail } }).parseFromString(text, 'text/xml')?.documentElement ?? fail('it is empty');
}

export const signedXml = (key: KeyObject): SignedXml => new Signed({ publicCert: key });
