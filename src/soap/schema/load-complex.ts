/** Complex types as the schema defines them: particles, attributes, derivation. */
import { reference, required, unsupported, xsd, type Components, type Frame, type Raw } from './collect.ts';
import { BUILTIN, textType, UNBOUNDED, type AttributeDeclaration, type ComplexType, type Particle, type SimpleType, type Type } from './model.ts';
import type { Resolver } from './resolver.ts';
import { clark, SCHEMA, XML } from '../names.ts';
import { attributeOf, type XmlElement } from '../xml/tree.ts';

export function fillComplex(type: ComplexType, { at, frame }: Raw, resolver: Resolver): ComplexType {
  type.mixed = attributeOf(at, 'mixed') === 'true';
  body(type, at, frame, resolver);
  return type;
}

/** What `complexType`, `extension`, `restriction` or `attributeGroup` says of content and attributes. */
function body(into: ComplexType, at: XmlElement, frame: Frame, resolver: Resolver): void {
  for (const child of xsd(at)) {
    switch (child.local) {
      case 'attribute': into.attributes = [...into.attributes, attribute(child, frame, resolver)]; break;
      case 'anyAttribute': into.anyAttribute = true; break;
      case 'attributeGroup': {
        const group = referred(resolver.components.attributeGroup, child, frame);
        body(into, group.at, group.frame, resolver);
        break;
      }
      case 'complexContent': case 'simpleContent': derive(into, child, frame, resolver); break;
      // Facets of a text's restriction; its base type still reads it.
      case 'enumeration': case 'pattern': case 'length': case 'minLength': case 'maxLength': break;
      default: into.particle = particle(child, frame, resolver);
    }
  }
}

function derive(into: ComplexType, content: XmlElement, frame: Frame, resolver: Resolver): void {
  into.mixed ||= attributeOf(content, 'mixed') === 'true';
  const [how] = xsd(content);
  if (how === undefined) throw unsupported(content, frame);
  const { ns, local } = reference(how, required(how, 'base', frame), frame);
  into.base = resolver.type(clark(ns, local), frame);
  into.extension = how.local === 'extension';
  body(into, how, frame, resolver);
  if (content.local === 'simpleContent') into.text = textType(into);
}

function particle(at: XmlElement, frame: Frame, resolver: Resolver): Particle {
  const max = attributeOf(at, 'maxOccurs') ?? '1';
  const often = { min: Number(attributeOf(at, 'minOccurs') ?? '1'), max: max === 'unbounded' ? UNBOUNDED : Number(max) };
  switch (at.local) {
    case 'element': {
      const ref = attributeOf(at, 'ref');
      if (ref === undefined) return { kind: 'element', ...often, element: resolver.declaration(at, frame, namespaceOfLocal(at, frame, frame.elementsQualified)) };
      const { ns, local } = reference(at, ref, frame);
      return { kind: 'element', ...often, element: resolver.element(clark(ns, local), frame) };
    }
    case 'any': return { kind: 'any', ...often, namespace: attributeOf(at, 'namespace') ?? '##any', target: frame.target };
    case 'sequence': case 'choice': case 'all': return { kind: at.local, ...often, parts: xsd(at).map((c) => particle(c, frame, resolver)) };
    case 'group': {
      const group = referred(resolver.components.group, at, frame);
      return { kind: 'sequence', ...often, parts: xsd(group.at).map((c) => particle(c, group.frame, resolver)) };
    }
    default: throw unsupported(at, frame);
  }
}

function attribute(at: XmlElement, frame: Frame, resolver: Resolver): AttributeDeclaration {
  const must = attributeOf(at, 'use') === 'required';
  const ref = attributeOf(at, 'ref');
  if (ref === undefined) return declared({ at, frame }, namespaceOfLocal(at, frame, frame.attributesQualified), must, resolver);
  const { ns, local } = reference(at, ref, frame);
  // Attributes as xml:lang are known without a schema of theirs.
  if (ns === XML) return { name: clark(ns, local), ns, local, required: must, type: simple(BUILTIN.get(clark(SCHEMA, 'string')), at, frame) };
  const global = referred(resolver.components.attribute, at, frame);
  return declared(global, global.frame.target, must, resolver);
}

function declared({ at, frame }: Raw, ns: string, must: boolean, resolver: Resolver): AttributeDeclaration {
  const local = required(at, 'name', frame);
  return { name: clark(ns, local), ns, local, required: must, type: simple(resolver.typeOf(at, frame) ?? BUILTIN.get(clark(SCHEMA, 'anySimpleType')), at, frame) };
}

function namespaceOfLocal(at: XmlElement, frame: Frame, qualifiedByDefault: boolean): string {
  const form = attributeOf(at, 'form');
  return (form === undefined ? qualifiedByDefault : form === 'qualified') ? frame.target : '';
}

function simple(type: Type | undefined, at: XmlElement, frame: Frame): SimpleType {
  if (type?.kind !== 'simple') throw unsupported(at, frame);
  return type;
}

function referred(among: Components[keyof Components], at: XmlElement, frame: Frame): Raw {
  const { ns, local } = reference(at, required(at, 'ref', frame), frame);
  const found = among.get(clark(ns, local));
  if (found === undefined) throw new Error(`${frame.path}: no ${at.local} ${clark(ns, local)}`);
  return found;
}
