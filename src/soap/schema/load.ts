/** Makes a type model of collected schema components. A schema that says what is not understood here is refused at start. */
import { BUILTIN, emptyComplex, textType, type AttributeDeclaration, type ComplexType, type ElementDeclaration, type Particle, type Schema, type SimpleType, type Type, UNBOUNDED, ANY_TYPE } from './model.ts';
import { reference, required, unsupported, xsd, type Components, type Frame, type Raw } from './collect.ts';
import { simpleOf } from './load-simple.ts';
import { clark, XML, type Clark } from '../names.ts';
import { attributeOf, type XmlElement } from '../xml/tree.ts';

/** `prefixes` are proposals, by namespace. */
export function resolveSchema(components: Components, prefixes: ReadonlyMap<string, string>): Schema {
  const types = new Map<Clark, Type>(BUILTIN);
  const elements = new Map<Clark, ElementDeclaration>();

  const typeNamed = (name: Clark, from: Frame): Type => {
    const known = types.get(name);
    if (known !== undefined) return known;
    const raw = components.type.get(name);
    if (raw === undefined) throw new Error(`${from.path}: no type ${name}`);
    if (raw.at.local === 'simpleType') {
      const simple = simpleOf(raw, name, simpleNamed);
      types.set(name, simple);
      return simple;
    }
    // Known before it is filled: what it holds may hold it again.
    const complex = emptyComplex(name);
    types.set(name, complex);
    return fill(complex, raw);
  };
  const simpleNamed = (name: Clark, from: Frame): SimpleType => {
    const type = typeNamed(name, from);
    if (type.kind !== 'simple') throw new Error(`${from.path}: ${name} is no simple type`);
    return type;
  };
  const typeReference = (at: XmlElement, text: string, frame: Frame): Type => {
    const { ns, local } = reference(at, text, frame);
    return typeNamed(clark(ns, local), frame);
  };

  const typeOf = (at: XmlElement, frame: Frame): Type => {
    const named = attributeOf(at, 'type');
    if (named !== undefined) return typeReference(at, named, frame);
    const inline = xsd(at).find((c) => c.local === 'complexType' || c.local === 'simpleType');
    if (inline === undefined) return ANY_TYPE;
    const raw = { at: inline, frame };
    return inline.local === 'simpleType' ? simpleOf(raw, undefined, simpleNamed) : fill(emptyComplex(undefined), raw);
  };

  const elementNamed = (name: Clark, from: Frame): ElementDeclaration => {
    const known = elements.get(name);
    if (known !== undefined) return known;
    const raw = components.element.get(name);
    if (raw === undefined) throw new Error(`${from.path}: no element ${name}`);
    // Its type is looked up when it is first asked for, as elements refer to each other in circles.
    const made = elementOf(raw.at, raw.frame, raw.frame.target);
    elements.set(name, made);
    return made;
  };
  const elementOf = (at: XmlElement, frame: Frame, ns: string): ElementDeclaration => {
    if (attributeOf(at, 'substitutionGroup') !== undefined) throw unsupported(at, frame);
    const local = required(at, 'name', frame);
    let type: Type | undefined;
    return {
      name: clark(ns, local), ns, local,
      get type() { return type ??= typeOf(at, frame); },
      nillable: attributeOf(at, 'nillable') === 'true',
    };
  };

  const occurs = (at: XmlElement): { min: number; max: number } => {
    const max = attributeOf(at, 'maxOccurs') ?? '1';
    return { min: Number(attributeOf(at, 'minOccurs') ?? '1'), max: max === 'unbounded' ? UNBOUNDED : Number(max) };
  };

  const particleOf = (at: XmlElement, frame: Frame): Particle => {
    const { min, max } = occurs(at);
    switch (at.local) {
      case 'element': {
        const ref = attributeOf(at, 'ref');
        if (ref !== undefined) {
          const { ns, local } = reference(at, ref, frame);
          return { kind: 'element', min, max, element: elementNamed(clark(ns, local), frame) };
        }
        const qualified = (attributeOf(at, 'form') ?? (frame.elementsQualified ? 'qualified' : '')) === 'qualified';
        return { kind: 'element', min, max, element: elementOf(at, frame, qualified ? frame.target : '') };
      }
      case 'any':
        return { kind: 'any', min, max, namespace: attributeOf(at, 'namespace') ?? '##any', target: frame.target };
      case 'sequence': case 'choice': case 'all':
        return { kind: at.local, min, max, parts: xsd(at).map((c) => particleOf(c, frame)) };
      case 'group': {
        const group = find(components.group, at, frame);
        const [content] = xsd(group.at);
        if (content === undefined) throw unsupported(group.at, group.frame);
        return { kind: 'sequence', min, max, parts: [particleOf(content, group.frame)] };
      }
      default:
        throw unsupported(at, frame);
    }
  };

  const attributeDeclaration = (at: XmlElement, frame: Frame): AttributeDeclaration => {
    const required_ = attributeOf(at, 'use') === 'required';
    const ref = attributeOf(at, 'ref');
    if (ref === undefined) {
      const qualified = (attributeOf(at, 'form') ?? (frame.attributesQualified ? 'qualified' : '')) === 'qualified';
      return makeAttribute({ at, frame }, qualified ? frame.target : '', required_);
    }
    const { ns, local } = reference(at, ref, frame);
    if (ns === XML) return { name: clark(ns, local), ns, local, type: simpleNamed(clark('http://www.w3.org/2001/XMLSchema', 'string'), frame), required: required_ };
    const global = find(components.attribute, at, frame);
    return makeAttribute(global, global.frame.target, required_);
  };
  const makeAttribute = ({ at, frame }: Raw, ns: string, required_: boolean): AttributeDeclaration => {
    const local = required(at, 'name', frame);
    const type = attributeOf(at, 'type') === undefined && xsd(at).length === 0 ? BUILTIN.get(clark('http://www.w3.org/2001/XMLSchema', 'anySimpleType')) : typeOf(at, frame);
    if (type?.kind !== 'simple') throw unsupported(at, frame);
    return { name: clark(ns, local), ns, local, type, required: required_ };
  };

  /** What `complexType`, `extension`, `restriction` or `attributeGroup` says of content and attributes. */
  const body = (into: ComplexType, at: XmlElement, frame: Frame): void => {
    for (const child of xsd(at)) {
      switch (child.local) {
        case 'attribute': into.attributes = [...into.attributes, attributeDeclaration(child, frame)]; break;
        case 'anyAttribute': into.anyAttribute = true; break;
        case 'attributeGroup': { const g = find(components.attributeGroup, child, frame); body(into, g.at, g.frame); break; }
        case 'complexContent': case 'simpleContent': derive(into, child, frame); break;
        // Facets of a text's restriction; its base type still reads it.
        case 'enumeration': case 'pattern': case 'length': case 'minLength': case 'maxLength': break;
        default: into.particle = particleOf(child, frame);
      }
    }
  };
  const derive = (into: ComplexType, content: XmlElement, frame: Frame): void => {
    into.mixed ||= attributeOf(content, 'mixed') === 'true';
    const [how] = xsd(content);
    if (how === undefined) throw unsupported(content, frame);
    into.base = typeReference(how, required(how, 'base', frame), frame);
    into.extension = how.local === 'extension';
    body(into, how, frame);
    if (content.local === 'simpleContent') into.text = textType(into);
  };
  const fill = (type: ComplexType, { at, frame }: Raw): ComplexType => {
    type.mixed = attributeOf(at, 'mixed') === 'true';
    body(type, at, frame);
    return type;
  };

  for (const [name, { frame }] of components.element) void elementNamed(name, frame).type;
  for (const [name, { frame }] of components.type) typeNamed(name, frame);
  return { elements, types, prefixes: uniquePrefixes([...elements.values(), ...types.values()].flatMap((c) => (c.name === undefined ? [] : [c.name])), prefixes) };
}

function find(among: ReadonlyMap<Clark, Raw>, at: XmlElement, frame: Frame): Raw {
  const { ns, local } = reference(at, required(at, 'ref', frame), frame);
  const found = among.get(clark(ns, local));
  if (found === undefined) throw new Error(`${frame.path}: no ${at.local} {${ns}}${local}`);
  return found;
}

/** Each namespace its own prefix. */
function uniquePrefixes(names: readonly Clark[], proposals: ReadonlyMap<string, string>): Map<string, string> {
  const given = new Map<string, string>();
  const taken = new Set<string>(['xml', 'xmlns']);
  const namespaces = new Set([...proposals.keys(), ...names.map((n) => n.slice(1, n.indexOf('}')))]);
  for (const ns of [...namespaces].sort()) {
    if (ns === '' || ns === XML) continue;
    const wanted = proposals.get(ns) ?? 'n';
    let prefix = wanted;
    for (let i = 1; taken.has(prefix); i++) prefix = `${wanted}${i}`;
    taken.add(prefix);
    given.set(ns, prefix);
  }
  return given;
}
