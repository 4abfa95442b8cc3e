/** Values of any type of a schema, as fast-check makes them. */
import fc from 'fast-check';
import type { QName } from '../../src/soap/names.ts';
import { isMixed, textType, wholeAttributes, wholeParticle, type ComplexType, type Particle, type SimpleType, type Type } from '../../src/soap/schema/model.ts';
import { makeElement, type XmlElement } from '../../src/soap/xml/tree.ts';

type Arbitrary = fc.Arbitrary<unknown>;
/** Types contain themselves; deeper than this nothing optional follows. */
const DEPTH = 4;

/** Text that XML 1.0 can carry. */
export const xmlText = fc.string({ unit: 'binary', maxLength: 10 }).map((s) => Buffer.from(s.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '')).toString().replaceAll('\ufffd', ''));
const token = fc.stringMatching(/^[A-Za-z0-9:/._é-]{1,8}$/);
const name: fc.Arbitrary<QName> = fc.record({ ns: fc.constantFrom('', 'urn:a', 'urn:b', 'http://www.globus.org/2008/06/workspace'), local: fc.constantFrom('a', 'currentState', 'x-1') });
const time = fc.integer({ min: Date.parse('0001-01-01T00:00:00Z'), max: Date.parse('9999-12-31T23:59:59.999Z') });
const part = fc.option(fc.nat(1e9 - 1), { nil: undefined });
const duration = fc.record({ negative: fc.constantFrom(undefined, true), years: part, months: part, days: part, hours: part, minutes: part, seconds: fc.option(fc.nat(1e6).map((n) => n / 1000), { nil: undefined }) })
  .map((d) => Object.fromEntries(Object.entries(d).filter(([, v]) => v !== undefined)))
  .map((d) => (Object.keys(d).some((k) => k !== 'negative') ? d : { ...d, seconds: 0 }));

export function valueOf(type: Type, nillable = false, depth = 0): Arbitrary {
  const value = type.kind === 'simple' ? simpleValue(type) : complexValue(type, depth);
  return nillable ? fc.oneof({ weight: 4, arbitrary: value }, fc.constant(null)) : value;
}

export function simpleValue(type: SimpleType): Arbitrary {
  const [member] = type.members;
  if (type.variety === 'list' && member !== undefined) return fc.array(simpleValue(member), { minLength: 1, maxLength: 4 });
  if (type.variety === 'union') return fc.oneof(...type.members.map(simpleValue));
  if (type.facets.enumeration !== undefined) return fc.constantFrom(...type.facets.enumeration);
  const { min = -(2 ** 53 - 1), max = 2 ** 53 - 1, minLength = 0, maxLength = 12 } = type.facets;
  switch (type.primitive) {
    case 'string': return minLength > 0 ? fc.stringMatching(new RegExp(`^[a-z:]{${minLength},${maxLength}}$`)) : xmlText;
    case 'normalizedString': case 'token': return token;
    case 'boolean': return fc.boolean();
    case 'integer': return max - min < 2 ** 32 ? fc.integer({ min, max }) : fc.maxSafeInteger().filter((n) => n >= min && n <= max);
    case 'decimal': return fc.integer({ min: -1e6, max: 1e6 }).map((n) => n / 100 + 0);
    case 'float': return fc.double();
    case 'dateTime': return time;
    case 'duration': return duration;
    case 'calendar': return fc.constantFrom('2009-01-31', '12:00:00Z');
    case 'QName': return name;
    case 'base64Binary': case 'hexBinary': return fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes));
  }
}

function complexValue(type: ComplexType, depth: number): Arbitrary {
  const particle = wholeParticle(type);
  const text = particle === undefined ? textType(type) : undefined;
  const attributes = Object.fromEntries(wholeAttributes(type).map((a) => [`@${a.local}`, a.required ? simpleValue(a.type) : optional(simpleValue(a.type))]));
  const own: fc.Arbitrary<object> = fc.record({ ...attributes, ...(text !== undefined ? { $: simpleValue(text) } : isMixed(type) ? { $: xmlText } : {}) });
  const content = particle === undefined ? fc.constant({}) : contentOf(particle, depth, false);
  return fc.tuple(own, content).map(([a, b]) => present({ ...a, ...b }));
}

const optional = (a: Arbitrary): Arbitrary => fc.option(a, { nil: undefined });
const present = (o: object): object => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));

/** `many`: within a group that repeats, where each element may stand any number of times. */
function contentOf(p: Particle, depth: number, many: boolean): fc.Arbitrary<object> {
  const deep = depth >= DEPTH;
  switch (p.kind) {
    case 'element': {
      const value = fc.constant(undefined).chain(() => valueOf(p.element.type, p.element.nillable, depth + 1));
      const key = p.element.local;
      if (many || p.max > 1) return fc.array(value, { minLength: p.min, maxLength: deep ? p.min : p.min + 2 }).map((list) => ({ [key]: list }));
      if (p.min === 0) return deep ? fc.constant({}) : optional(value).map((v) => ({ [key]: v }));
      return value.map((v) => ({ [key]: v }));
    }
    case 'any':
      return fc.array(fc.tuple(fc.constantFrom('urn:other', 'urn:b'), xmlText).map(([ns, t]) => makeElement({ ns, local: 'thing' }, { children: [t] })), { minLength: p.min, maxLength: Math.min(p.max, 2) }).map((any) => ({ any }));
    case 'choice':
      if (p.max > 1) return contentOf({ ...p, kind: 'sequence', min: 1, max: 1 }, depth, true);
      return fc.oneof(...p.parts.map((q) => contentOf(q, depth, many)));
    case 'sequence': case 'all': {
      const whole = fc.tuple(...p.parts.map((q) => contentOf(q, depth, many))).map((parts) => Object.assign({}, ...parts) as object);
      return p.min === 0 ? fc.oneof(whole, fc.constant({})) : whole;
    }
  }
}

/** Trees of an `any` are compared by what they say, not by the prefixes that they say it with. */
export function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
  if ('children' in value && 'scope' in value && 'name' in value) {
    const e = value as unknown as XmlElement;
    return { name: e.name, children: e.children.map(comparable) };
  }
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, comparable(v)]));
}
