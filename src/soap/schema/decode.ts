/** Elements to plain objects, by their types. Depth is bounded by the reader's. */
import { Fault } from '../../lease/faults.ts';
import { clark, NIL, SCHEMA_INSTANCE, SOAP_ENVELOPE, type Clark } from '../names.ts';
import { attributeOf, resolveQName, textOf, type XmlElement } from '../xml/tree.ts';
import { decodedFrom } from './codec.ts';
import { derivesFrom, type ComplexType, type Schema, type SimpleType, type Type } from './model.ts';
import { planOf, type Plan, type Slot } from './plan.ts';
import { NoSuchValue } from './no-such-value.ts';
import { readSimple } from './simple.ts';
import { checkContent } from './strict.ts';

const TYPE: Clark = clark(SCHEMA_INSTANCE, 'type');
/** Attributes that any element may have. */
const ELSEWHERE = new Set([SCHEMA_INSTANCE, SOAP_ENVELOPE]);

/** Where in the document, for the message of a refusal. */
type Path = string[];

interface Decoding {
  readonly schema: Schema;
  readonly strict: boolean;
  readonly path: Path;
}

export function decodeElement(schema: Schema, type: Type, nillable: boolean, element: XmlElement, strict: boolean): unknown {
  return value({ schema, strict, path: [element.local] }, type, nillable, element);
}

function value(d: Decoding, declared: Type, nillable: boolean, element: XmlElement): unknown {
  if (element.attributes.length > 0 && isNil(element)) {
    if (d.strict && !nillable) throw refused(d, 'must not be nil');
    return null;
  }
  const type = element.attributes.length > 0 ? actualType(d, declared, element) : declared;
  return type.kind === 'simple' ? simple(d, type, element) : complex(d, type, element);
}

function isNil(element: XmlElement): boolean {
  const nil = attributeOf(element, NIL);
  return nil === 'true' || nil === '1';
}

/** `xsi:type` where it names a type that may stand for the declared one; clients of that time wrote it everywhere. */
function actualType(d: Decoding, declared: Type, element: XmlElement): Type {
  const named = attributeOf(element, TYPE);
  if (named === undefined) return declared;
  const name = resolveQName(element.scope, named);
  const type = name === undefined ? undefined : d.schema.types.get(clark(name.ns, name.local));
  if (type !== undefined && derivesFrom(type, declared)) return type;
  if (d.strict && type !== undefined && declared.name !== `{http://www.w3.org/2001/XMLSchema}anyType`) throw refused(d, `is said to be of the type ${named}, which cannot stand here`);
  return declared;
}

function simple(d: Decoding, type: SimpleType, element: XmlElement): unknown {
  if (element.children.some((c) => typeof c !== 'string')) throw refused(d, 'must hold text only');
  return parsed(d, type, element, textOf(element));
}

function parsed(d: Decoding, type: SimpleType, element: XmlElement, text: string): unknown {
  try {
    return readSimple(type, text, (name) => resolveQName(element.scope, name), d.strict);
  } catch (e) {
    if (e instanceof NoSuchValue) throw refused(d, `has a wrong value: ${e.message}`);
    throw e;
  }
}

function complex(d: Decoding, type: ComplexType, element: XmlElement): unknown {
  const plan = planOf(type);
  const object: Record<string, unknown> = {};
  if (plan.text !== undefined) object['$'] = simple(d, plan.text, element);
  else if (plan.mixed) object['$'] = textOf(element);
  attributes(d, plan, element, object);
  if (plan.text !== undefined) return object;
  if (d.strict) strictly(d, plan, element);
  children(d, plan, element, object);
  return plan.mixed ? decodedFrom(object, element) : object;
}

function attributes(d: Decoding, plan: Plan, element: XmlElement, into: Record<string, unknown>): void {
  for (const { key, declaration } of plan.attributes) {
    const given = element.attributes.find((a) => a.name === declaration.name) ?? (d.strict ? undefined : element.attributes.find((a) => a.local === declaration.local && !ELSEWHERE.has(a.ns)));
    if (given !== undefined) {
      d.path.push(key);
      into[key] = parsed(d, declaration.type, element, given.value);
      d.path.pop();
    } else if (d.strict && declaration.required) {
      throw refused(d, `must have the attribute ${declaration.local}`);
    }
  }
}

function children(d: Decoding, plan: Plan, element: XmlElement, into: Record<string, unknown>): void {
  // Every list is there, so that callers need not ask.
  for (const slot of plan.slots) if (slot === 'any') into['any'] = []; else if (slot.repeated) into[slot.key] = [];
  for (const child of element.children) {
    if (typeof child === 'string') continue;
    const slot = slotOf(d, plan, child);
    if (slot === 'any') {
      (into['any'] as XmlElement[]).push(child);
      continue;
    }
    d.path.push(child.local);
    if (slot === undefined) throw refused(d, 'is not known here');
    const decoded = value(d, slot.element.type, slot.element.nillable, child);
    if (slot.repeated) (into[slot.key] as unknown[]).push(decoded);
    else if (Object.hasOwn(into, slot.key)) throw refused(d, 'may stand here once only');
    else into[slot.key] = decoded;
    d.path.pop();
  }
}

/** By its full name; leniently also by the local name alone, unless the child may be a stranger's. */
function slotOf(d: Decoding, plan: Plan, child: XmlElement): Slot | 'any' | undefined {
  const exact = plan.byName.get(child.name);
  if (exact !== undefined) return exact;
  if (!d.strict && (child.ns === '' || !plan.wildcard)) {
    const alike = plan.byLocal.get(child.local);
    if (alike !== undefined) return alike;
  }
  return plan.wildcard ? 'any' : undefined;
}

function strictly(d: Decoding, plan: Plan, element: XmlElement): void {
  if (!plan.mixed && element.children.some((c) => typeof c === 'string' && c.trim() !== '')) throw refused(d, 'must not hold text');
  for (const a of element.attributes) {
    if (!ELSEWHERE.has(a.ns) && !plan.type.anyAttribute && !plan.attributes.some(({ declaration }) => declaration.name === a.name)) throw refused(d, `must not have the attribute ${a.local}`);
  }
  const wrong = checkContent(plan.type, element);
  if (wrong !== undefined) throw refused(d, wrong);
}

const refused = (d: Decoding, what: string): Fault => new Fault('RequestMalformed', `The element ${d.path.join('/')} ${what}.`);
