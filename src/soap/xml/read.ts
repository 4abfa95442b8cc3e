/**
 * Reads XML as it arrives. What a message has no use for and attackers have is refused: document types, and with them
 * entities but the five of XML; processing instructions; sizes, depths and numbers beyond the limits.
 */
import { SaxesParser, type SaxesTagNS } from 'saxes';
import { Fault } from '../../lease/faults.ts';
import { clark, XMLNS } from '../names.ts';
import type { Scope, XmlAttribute, XmlElement } from './tree.ts';

export interface XmlLimits {
  readonly bytes: number;
  readonly depth: number;
  /** Of one element, declarations of namespaces included. */
  readonly attributes: number;
  /** Elements, attributes and pieces of text together. */
  readonly nodes: number;
}

export const XML_LIMITS: XmlLimits = { bytes: 2 * 1024 * 1024, depth: 100, attributes: 64, nodes: 100_000 };

export interface XmlReader {
  /** @throws Fault RequestMalformed, RequestTooLarge; the reader is of no use afterwards */
  write(chunk: Uint8Array): void;
  end(): XmlElement;
}

/** Reads a whole document. */
export function readXml(document: Uint8Array | string, limits: XmlLimits = XML_LIMITS): XmlElement {
  const reader = createXmlReader(limits);
  reader.write(typeof document === 'string' ? Buffer.from(document) : document);
  return reader.end();
}

/** An element that still grows. */
interface Growing extends XmlElement {
  readonly children: (XmlElement | string)[];
}

const EMPTY: ReadonlyMap<string, string> = new Map();
const NOTHING: Scope = { own: EMPTY, parent: undefined };

export function createXmlReader(limits: XmlLimits = XML_LIMITS): XmlReader {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const open: Growing[] = [];
  let root: XmlElement | undefined;
  let bytes = 0;
  let nodes = 0;
  let attributes = 0;

  const count = (): void => {
    nodes++;
    if (nodes > limits.nodes) throw tooLarge(`has more than ${limits.nodes} elements, attributes and texts`);
  };
  const text = (piece: string): void => {
    const parent = open.at(-1);
    if (parent === undefined) return;
    const last = parent.children.length - 1;
    const before = parent.children[last];
    if (typeof before === 'string') {
      parent.children[last] = before + piece;
    } else {
      count();
      parent.children.push(piece);
    }
  };

  const parser = new SaxesParser({ xmlns: true });
  parser.on('error', (e) => { throw malformed(e.message.replace(/^(\d+):(\d+): /, 'line $1, column $2: ').replace(/\.$/, '')); });
  parser.on('xmldecl', (declaration) => {
    if (declaration.version !== undefined && declaration.version !== '1.0') throw malformed('only XML 1.0 is read');
    if (declaration.encoding !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(declaration.encoding)) throw malformed('only UTF-8 is read');
  });
  parser.on('doctype', () => { throw malformed('a document type is not allowed'); });
  parser.on('processinginstruction', () => { throw malformed('processing instructions are not allowed'); });
  parser.on('opentagstart', () => {
    count();
    attributes = 0;
    if (open.length >= limits.depth) throw tooLarge(`is nested more than ${limits.depth} deep`);
  });
  parser.on('attribute', () => {
    count();
    if (++attributes > limits.attributes) throw tooLarge(`has an element with more than ${limits.attributes} attributes`);
  });
  parser.on('opentag', (tag) => {
    const parent = open.at(-1);
    const element = elementOf(tag, parent);
    parent?.children.push(element);
    root ??= element;
    open.push(element);
  });
  parser.on('closetag', () => { open.pop(); });
  parser.on('text', text);
  parser.on('cdata', text);

  const feed = (decode: () => string): void => {
    let piece: string;
    try {
      piece = decode();
    } catch {
      throw malformed('the bytes are not UTF-8');
    }
    parser.write(piece);
  };

  return {
    write(chunk) {
      bytes += chunk.length;
      if (bytes > limits.bytes) throw tooLarge(`exceeds ${limits.bytes} bytes`);
      feed(() => decoder.decode(chunk, { stream: true }));
    },
    end() {
      feed(() => decoder.decode());
      parser.close();
      if (root === undefined) throw malformed('there is no element');
      return root;
    },
  };
}

function elementOf(tag: SaxesTagNS, parent: Growing | undefined): Growing {
  const attributes: XmlAttribute[] = [];
  let own: Map<string, string> | undefined;
  for (const name in tag.attributes) {
    const a = tag.attributes[name];
    if (a === undefined) continue;
    if (a.uri === XMLNS) {
      own ??= new Map();
      own.set(a.prefix === '' ? '' : a.local, a.value);
    } else {
      attributes.push({ name: clark(a.uri, a.local), ns: a.uri, local: a.local, prefix: a.prefix, value: a.value });
    }
  }
  const outer = parent?.scope ?? NOTHING;
  return {
    name: clark(tag.uri, tag.local), ns: tag.uri, local: tag.local, prefix: tag.prefix,
    attributes, children: [], scope: own === undefined ? outer : { own, parent: parent?.scope },
  };
}

const malformed = (what: string): Fault => new Fault('RequestMalformed', `The XML cannot be read: ${what}.`);
const tooLarge = (what: string): Fault => new Fault('RequestTooLarge', `The XML ${what}.`);
