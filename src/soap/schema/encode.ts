/** Plain objects to XML, by their types. What does not fit is a mistake of the caller's, and a TypeError. */
import { SCHEMA_INSTANCE, XML, type QName } from '../names.ts';
import { escapeAttribute, escapeXml } from '../xml/escape.ts';
import type { XmlElement } from '../xml/tree.ts';
import { writeXml } from '../xml/write.ts';
import type { Typed } from './codec.ts';
import type { ComplexType, ElementDeclaration, Schema, SimpleType, Type } from './model.ts';
import { planOf, type Plan, type Slot } from './plan.ts';
import { NoSuchValue } from './no-such-value.ts';
import { writeSimple } from './simple.ts';

/** Namespaces used so far, each with its prefix: all are declared at the outermost element. */
class Writing {
  readonly path: string[] = [];
  private readonly used = new Map<string, string>();
  constructor(readonly schema: Schema) {}

  prefix(ns: string): string {
    const known = this.used.get(ns);
    if (known !== undefined) return known;
    const given = this.schema.prefixes.get(ns) ?? (ns === SCHEMA_INSTANCE ? 'xsi' : `q${this.used.size}`);
    this.used.set(ns, given);
    return given;
  }
  name(ns: string, local: string): string {
    if (ns === '') return local;
    return `${ns === XML ? 'xml' : this.prefix(ns)}:${local}`;
  }
  declarations(): string {
    let text = '';
    for (const [ns, prefix] of this.used) text += ` xmlns:${prefix}="${escapeAttribute(ns)}"`;
    return text;
  }
  mistake(what: string): TypeError {
    return new TypeError(`${this.path.join('/')}: ${what}`);
  }
}

/** What stands between `<name` and the end of the element. */
interface Content {
  readonly attributes: string;
  readonly inner: string;
}

export function encodeElement(schema: Schema, name: QName, type: Type, nillable: boolean, value: unknown): string {
  const w = new Writing(schema);
  w.path.push(name.local);
  const tag = w.name(name.ns, name.local);
  const { attributes, inner } = content(w, type, nillable, value);
  return element(tag, w.declarations() + attributes, inner);
}

const element = (tag: string, attributes: string, inner: string): string => (inner === '' ? `<${tag}${attributes}/>` : `<${tag}${attributes}>${inner}</${tag}>`);

function content(w: Writing, type: Type, nillable: boolean, value: unknown): Content {
  if (value === null) {
    if (!nillable) throw w.mistake('must not be null');
    return { attributes: ` ${w.name(SCHEMA_INSTANCE, 'nil')}="true"`, inner: '' };
  }
  return type.kind === 'simple' ? { attributes: '', inner: escapeXml(simple(w, type, value)) } : complex(w, type, value);
}

function simple(w: Writing, type: SimpleType, value: unknown): string {
  try {
    return writeSimple(type, value, ({ ns, local }) => w.name(ns, local));
  } catch (e) {
    if (e instanceof NoSuchValue) throw w.mistake(e.message);
    throw e;
  }
}

function complex(w: Writing, type: ComplexType, value: unknown): Content {
  const plan = planOf(type);
  const given = asObject(w, plan, value);
  let text = '';
  for (const { key, declaration } of plan.attributes) {
    const v = given[key];
    if (v === undefined && declaration.required) throw w.mistake(`the attribute ${declaration.local} is missing`);
    if (v !== undefined) text += ` ${w.name(declaration.ns, declaration.local)}="${escapeAttribute(simple(w, declaration.type, v))}"`;
  }
  if (plan.text !== undefined) return { attributes: text, inner: escapeXml(simple(w, plan.text, given['$'])) };
  let inner = plan.mixed && given['$'] !== undefined ? mixedText(w, given['$']) : '';
  for (const slot of plan.slots) inner += slot === 'any' ? wildcard(w, given['any']) : slotText(w, slot, given[slot.key]);
  return { attributes: text, inner };
}

/** A bare value stands for the text of a type that has attributes too. */
function asObject(w: Writing, plan: Plan, value: unknown): Readonly<Record<string, unknown>> {
  const bare = typeof value !== 'object' || value === null || Array.isArray(value) || Buffer.isBuffer(value);
  if (!bare) {
    checkKeys(w, plan, value as Readonly<Record<string, unknown>>);
    return value as Readonly<Record<string, unknown>>;
  }
  if (plan.text === undefined && !plan.mixed) throw w.mistake(`an object is expected, not ${value === null ? 'null' : typeof value}`);
  return { $: value };
}

/** A key that the type does not have would be lost without a word. */
function checkKeys(w: Writing, plan: Plan, given: Readonly<Record<string, unknown>>): void {
  for (const key in given) {
    const known = (key === '$' && (plan.mixed || plan.text !== undefined)) || (key === 'any' && plan.wildcard)
      || (key.startsWith('@') ? plan.attributes.some((a) => a.key === key) : plan.keys.has(key));
    if (!known && given[key] !== undefined) throw w.mistake(`${key} is not known here`);
  }
}

/** Text, or a name with a prefix that is declared for it, as topics are. */
function mixedText(w: Writing, value: unknown): string {
  if (typeof value === 'string') return escapeXml(value);
  if (typeof value === 'object' && value !== null && 'local' in value) return w.name((value as QName).ns, (value as QName).local);
  throw w.mistake('text or a name is expected');
}

function slotText(w: Writing, slot: Slot, value: unknown): string {
  w.path.push(slot.key);
  let text = '';
  if (slot.repeated) {
    if (value !== undefined && !Array.isArray(value)) throw w.mistake('an array is expected');
    const items = (value ?? []) as readonly unknown[];
    if (items.length === 0 && slot.required) throw w.mistake('one is needed at least');
    for (const item of items) text += one(w, slot.element, item);
  } else if (value !== undefined) {
    text = one(w, slot.element, value);
  } else if (slot.required) {
    throw w.mistake('is missing');
  }
  w.path.pop();
  return text;
}

function one(w: Writing, declaration: ElementDeclaration, value: unknown): string {
  const { attributes, inner } = content(w, declaration.type, declaration.nillable, value);
  return element(w.name(declaration.ns, declaration.local), attributes, inner);
}

function wildcard(w: Writing, value: unknown): string {
  if (value === undefined) return '';
  if (!Array.isArray(value)) throw w.mistake('any is an array');
  let text = '';
  for (const item of value as readonly (XmlElement | Typed)[]) {
    if (!('element' in item)) {
      text += writeXml(item);
      continue;
    }
    const declaration = w.schema.elements.get(item.element);
    if (declaration === undefined) throw w.mistake(`no element ${item.element}`);
    w.path.push(declaration.local);
    text += one(w, declaration, item.value);
    w.path.pop();
  }
  return text;
}
