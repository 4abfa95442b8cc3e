/** What a message is apart from its values: names, structure, kinds of text. */
import { elementsOf, resolveQName, textOf, type XmlElement } from '../../src/soap/xml/tree.ts';

export interface Shape {
  readonly name: string;
  readonly attributes: readonly string[];
  readonly text: string;
  /** By name; order is the schema's affair. */
  readonly children: readonly Shape[];
}

/** Java's own: class names and stack traces of the original, and the host that it ran on. */
const LEFT_OUT = new Set(['ErrorCode', 'hostname']);
/** Of headers only whether they are there. */
const KINDS: ReadonlyArray<readonly [RegExp, string]> = [
  [/^$/, ''], [/^(true|false)$/, 'boolean'], [/^-?\d+(\.\d+)?$/, 'number'], [/^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/, 'dateTime'], [/^P(\d+D)?T\d+[SM]$/, 'duration'],
  [/^(uuid:)?[0-9a-f]{8}-[0-9a-f-]{27}$/, 'uuid'], [/^([0-9A-F]{2}:){5}[0-9A-F]{2}$/, 'mac'], [/^(\d{1,3}\.){3}\d{1,3}$/, 'address'], [/^https?:\/\/[^/]+\/wsrf\/services\/\w+$/, 'service'],
];
/** Words that are as important as names. */
const EXACT = new Set(['acquisitionMethod', 'association', 'Action', 'faultcode', 'To', 'CPUArchitectureName', 'TopicExpressionDialects', 'exceptionName']);

export function shapeOf(element: XmlElement, exact: ReadonlySet<string> = EXACT): Shape {
  const text = textOf(element).trim();
  const name = text.includes(':') && element.local === 'Topic' ? resolveQName(element.scope, text) : undefined;
  return {
    name: element.name,
    attributes: element.attributes.filter((a) => a.local !== 'type' && a.local !== 'mustUnderstand').map((a) => `${a.local}=${a.value}`).sort(),
    text: name !== undefined ? `{${name.ns}}${name.local}` : exact.has(element.local) ? text : KINDS.find(([pattern]) => pattern.test(text))?.[1] ?? 'text',
    children: elementsOf(element).filter((e) => !LEFT_OUT.has(e.local) && !namesClass(e)).map((e) => shapeOf(e, exact)).sort((a, b) => (key(a) < key(b) ? -1 : 1)),
  };
}

/** A cause that says nothing but which class threw; all but the one that clients look for. */
function namesClass(e: XmlElement): boolean {
  const said = elementsOf(e).filter((c) => c.local === 'Description').map((c) => textOf(c).trim());
  return e.local === 'FaultCause' && said.every((s) => /^[a-z]+(?:\.\w+)+$/.test(s) && !s.endsWith('NoSuchResourceException'));
}

const key = (s: Shape): string => JSON.stringify(s);
