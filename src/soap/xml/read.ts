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

/** Makes the tree. Most handlers stand on the prototype, below: an instance with as many properties of its own is several times slower. */
class TreeParser extends SaxesParser<{ xmlns: true }> {
  readonly open: Growing[] = [];
  root: XmlElement | undefined;
  private nodes = 0;
  private attributes = 0;
  constructor(private readonly limits: XmlLimits) {
    super({ xmlns: true });
    // Called without `this`.
    this.on('text', (piece) => this.piece(piece));
    this.on('closetag', () => { this.open.pop(); });
  }

  count(): void {
    if (++this.nodes > this.limits.nodes) throw tooLarge(`has more than ${this.limits.nodes} elements, attributes and texts`);
  }
  begin(): void {
    this.count();
    this.attributes = 0;
    if (this.open.length >= this.limits.depth) throw tooLarge(`is nested more than ${this.limits.depth} deep`);
  }
  attribute(): void {
    this.count();
    if (++this.attributes > this.limits.attributes) throw tooLarge(`has an element with more than ${this.limits.attributes} attributes`);
  }
  element(tag: SaxesTagNS): void {
    const parent = this.open.at(-1);
    const element = elementOf(tag, parent);
    parent?.children.push(element);
    this.root ??= element;
    this.open.push(element);
  }
  /** Text beside text is joined: what comments or CDATA divide is one text. */
  piece(piece: string): void {
    const children = this.open.at(-1)?.children;
    if (children === undefined) return;
    const before = children.at(-1);
    if (typeof before === 'string') {
      children[children.length - 1] = before + piece;
    } else {
      this.count();
      children.push(piece);
    }
  }
}

const each = TreeParser.prototype;
each.on('error', (e) => { throw malformed(e.message.replace(/^(\d+):(\d+): /, 'line $1, column $2: ').replace(/\.$/, '')); });
each.on('xmldecl', ({ version, encoding }) => {
  if (version !== undefined && version !== '1.0') throw malformed('only XML 1.0 is read');
  if (encoding !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(encoding)) throw malformed('only UTF-8 is read');
});
each.on('doctype', () => { throw malformed('a document type is not allowed'); });
each.on('processinginstruction', () => { throw malformed('processing instructions are not allowed'); });
each.on('opentagstart', function (this: TreeParser) { this.begin(); });
each.on('attribute', function (this: TreeParser) { this.attribute(); });
each.on('opentag', function (this: TreeParser, tag) { this.element(tag); });
each.on('cdata', function (this: TreeParser, piece) { this.piece(piece); });

export function createXmlReader(limits: XmlLimits = XML_LIMITS): XmlReader {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parser = new TreeParser(limits);
  let bytes = 0;

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
      if (parser.root === undefined) throw malformed('there is no element');
      return parser.root;
    },
  };
}

const EMPTY: ReadonlyMap<string, string> = new Map();
const NOTHING: Scope = { own: EMPTY, parent: undefined };

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
