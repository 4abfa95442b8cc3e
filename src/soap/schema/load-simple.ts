/** Simple types as the schema defines them: restrictions with their facets, lists, unions. */
import { reference, required, unsupported, xsd, type Frame, type Raw } from './collect.ts';
import type { Facets, SimpleType } from './model.ts';
import { clark, type Clark } from '../names.ts';
import { attributeOf, type XmlElement } from '../xml/tree.ts';

type FindSimple = (name: Clark, from: Frame) => SimpleType;

export function simpleOf({ at, frame }: Raw, name: Clark | undefined, find: FindSimple): SimpleType {
  const [how] = xsd(at);
  if (how === undefined) throw unsupported(at, frame);
  const named = (text: string): SimpleType => {
    const { ns, local } = reference(how, text, frame);
    return find(clark(ns, local), frame);
  };
  const inline = (): SimpleType[] => xsd(how).filter((c) => c.local === 'simpleType').map((c) => simpleOf({ at: c, frame }, undefined, find));
  const listed = (attribute: string): SimpleType[] => (attributeOf(how, attribute) ?? '').split(/\s+/).filter((t) => t !== '').map(named);
  switch (how.local) {
    case 'restriction': {
      const [base] = [...listed('base'), ...inline()];
      if (base === undefined) throw unsupported(at, frame);
      return { ...base, name, base, facets: { ...base.facets, ...facetsOf(how, frame) } };
    }
    case 'list':
      return { kind: 'simple', name, base: undefined, variety: 'list', primitive: 'string', members: [...listed('itemType'), ...inline()], facets: {} };
    case 'union':
      return { kind: 'simple', name, base: undefined, variety: 'union', primitive: 'string', members: [...listed('memberTypes'), ...inline()], facets: {} };
    default:
      throw unsupported(how, frame);
  }
}

const NUMERIC: Readonly<Record<string, keyof Facets>> = {
  minLength: 'minLength', maxLength: 'maxLength', minInclusive: 'min', maxInclusive: 'max', minExclusive: 'minExclusive', maxExclusive: 'maxExclusive',
};
/** Said of what is written, not of what is meant. */
const WITHOUT_MEANING = new Set(['simpleType', 'whiteSpace', 'totalDigits', 'fractionDigits']);

function facetsOf(restriction: XmlElement, frame: Frame): Facets {
  const found: Record<string, unknown> = {};
  const enumeration: string[] = [];
  for (const facet of xsd(restriction)) {
    if (WITHOUT_MEANING.has(facet.local)) continue;
    const value = required(facet, 'value', frame);
    const numeric = NUMERIC[facet.local];
    if (facet.local === 'enumeration') enumeration.push(value);
    else if (facet.local === 'length') Object.assign(found, { minLength: Number(value), maxLength: Number(value) });
    else if (facet.local === 'pattern') found['pattern'] = patternOf(value, facet, frame);
    else if (numeric !== undefined) found[numeric] = Number(value);
    else throw unsupported(facet, frame);
  }
  return { ...found, ...(enumeration.length > 0 ? { enumeration } : {}) };
}

/** XML Schema's expressions are those of JavaScript but for a few classes, which nothing here uses. */
function patternOf(text: string, at: XmlElement, frame: Frame): RegExp {
  if (/\\[icICpP]|-\[/.test(text)) throw unsupported(at, frame);
  return new RegExp(`^(?:${text})$`, 'u');
}
