/** Makes a type model of collected schema components. A schema that says what is not understood here is refused at start. */
import { reference, required, unsupported, xsd, type Components, type Frame } from './collect.ts';
import { fillComplex } from './load-complex.ts';
import { simpleOf } from './load-simple.ts';
import type { Resolver } from './resolver.ts';
import { ANY_TYPE, BUILTIN, emptyComplex, type ElementDeclaration, type Schema, type SimpleType, type Type } from './model.ts';
import { clark, XML, type Clark } from '../names.ts';
import { attributeOf } from '../xml/tree.ts';

/** `prefixes` are proposals, by namespace. */
export function resolveSchema(components: Components, prefixes: ReadonlyMap<string, string>): Schema {
  const types = new Map<Clark, Type>(BUILTIN);
  const elements = new Map<Clark, ElementDeclaration>();
  const resolver = createResolver(components, types, elements);
  for (const [name, { frame }] of components.element) void resolver.element(name, frame).type;
  for (const [name, { frame }] of components.type) resolver.type(name, frame);
  const names = [...elements.keys(), ...types.keys()];
  return { elements, types, prefixes: uniquePrefixes(names.map((n) => n.slice(1, n.indexOf('}'))), prefixes) };
}

function createResolver(components: Components, types: Map<Clark, Type>, elements: Map<Clark, ElementDeclaration>): Resolver {
  const simple = (name: Clark, from: Frame): SimpleType => {
    const type = resolver.type(name, from);
    if (type.kind !== 'simple') throw new Error(`${from.path}: ${name} is no simple type`);
    return type;
  };
  const resolver: Resolver = {
    components,
    type(name, from) {
      const known = types.get(name);
      if (known !== undefined) return known;
      const raw = components.type.get(name);
      if (raw === undefined) throw new Error(`${from.path}: no type ${name}`);
      // Known before it is filled: what a type holds may hold it again.
      const made = raw.at.local === 'simpleType' ? simpleOf(raw, name, simple) : emptyComplex(name);
      types.set(name, made);
      return made.kind === 'simple' ? made : fillComplex(made, raw, resolver);
    },
    element(name, from) {
      const known = elements.get(name);
      if (known !== undefined) return known;
      const raw = components.element.get(name);
      if (raw === undefined) throw new Error(`${from.path}: no element ${name}`);
      const made = resolver.declaration(raw.at, raw.frame, raw.frame.target);
      elements.set(name, made);
      return made;
    },
    declaration(at, frame, ns) {
      if (attributeOf(at, 'substitutionGroup') !== undefined) throw unsupported(at, frame);
      const local = required(at, 'name', frame);
      // Looked up when it is first asked for, as elements refer to each other in circles.
      let type: Type | undefined;
      return { name: clark(ns, local), ns, local, nillable: attributeOf(at, 'nillable') === 'true', get type() { return type ??= resolver.typeOf(at, frame) ?? ANY_TYPE; } };
    },
    typeOf(at, frame) {
      const named = attributeOf(at, 'type');
      if (named !== undefined) {
        const { ns, local } = reference(at, named, frame);
        return resolver.type(clark(ns, local), frame);
      }
      const inline = xsd(at).find((c) => c.local === 'complexType' || c.local === 'simpleType');
      if (inline === undefined) return undefined;
      return inline.local === 'simpleType' ? simpleOf({ at: inline, frame }, undefined, simple) : fillComplex(emptyComplex(undefined), { at: inline, frame }, resolver);
    },
  };
  return resolver;
}

/** Each namespace its own prefix. */
function uniquePrefixes(namespaces: readonly string[], proposals: ReadonlyMap<string, string>): Map<string, string> {
  const given = new Map<string, string>();
  const taken = new Set<string>(['xml', 'xmlns']);
  for (const ns of [...new Set([...proposals.keys(), ...namespaces])].sort()) {
    if (ns === '' || ns === XML) continue;
    const wanted = proposals.get(ns) ?? 'n';
    let prefix = wanted;
    for (let i = 1; taken.has(prefix); i++) prefix = `${wanted}${i}`;
    taken.add(prefix);
    given.set(ns, prefix);
  }
  return given;
}
