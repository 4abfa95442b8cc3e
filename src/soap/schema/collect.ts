/** Collects the global components of schema documents, following imports and includes, before any of them is resolved. */
import { posix } from 'node:path';
import { clark, SCHEMA, type Clark, type QName } from '../names.ts';
import { attributeOf, elementsOf, resolveQName, type XmlElement } from '../xml/tree.ts';

/** What a schema document says for all that stands in it. */
export interface Frame {
  readonly path: string;
  readonly target: string;
  readonly elementsQualified: boolean;
  readonly attributesQualified: boolean;
}

/** A component as it stands in its document. */
export interface Raw {
  readonly at: XmlElement;
  readonly frame: Frame;
}

export type Components = Readonly<Record<'element' | 'type' | 'attribute' | 'group' | 'attributeGroup', Map<Clark, Raw>>>;

export interface Collector {
  readonly components: Components;
  /** A `schema` element that stands in `path`, with all that it refers to. */
  schema(at: XmlElement, path: string): void;
}

const KINDS: Readonly<Record<string, keyof Components>> = {
  element: 'element', complexType: 'type', simpleType: 'type', attribute: 'attribute', group: 'group', attributeGroup: 'attributeGroup',
};
const SILENT = new Set(['annotation', 'import', 'include']);

/** `open` gives a document's root by its path. */
export function createCollector(open: (path: string) => XmlElement): Collector {
  const components: Components = { element: new Map(), type: new Map(), attribute: new Map(), group: new Map(), attributeGroup: new Map() };
  const seen = new Set<XmlElement>();

  const schema = (at: XmlElement, path: string): void => {
    if (seen.has(at)) return;
    seen.add(at);
    const frame: Frame = {
      path,
      target: attributeOf(at, 'targetNamespace') ?? '',
      elementsQualified: attributeOf(at, 'elementFormDefault') === 'qualified',
      attributesQualified: attributeOf(at, 'attributeFormDefault') === 'qualified',
    };
    for (const child of xsd(at)) {
      const kind = KINDS[child.local];
      if (kind !== undefined) register(components[kind], child, frame);
      else if (!SILENT.has(child.local)) throw unsupported(child, frame);
      const location = attributeOf(child, 'schemaLocation');
      if ((child.local === 'import' || child.local === 'include') && location !== undefined) {
        const to = posix.join(posix.dirname(path), location);
        schema(open(to), to);
      }
    }
  };
  return { components, schema };
}

function register(into: Map<Clark, Raw>, at: XmlElement, frame: Frame): void {
  const name = clark(frame.target, required(at, 'name', frame));
  const known = into.get(name);
  if (known !== undefined && known.at !== at) throw new Error(`${frame.path}: ${at.local} ${name} stands in ${known.frame.path} already`);
  into.set(name, { at, frame });
}

/** The schema's own children; documentation has no say. */
export function xsd(at: XmlElement): XmlElement[] {
  return elementsOf(at).filter((c) => c.ns === SCHEMA && c.local !== 'annotation');
}

export function required(at: XmlElement, attribute: string, frame: Frame): string {
  const value = attributeOf(at, attribute);
  if (value === undefined) throw new Error(`${frame.path}: ${at.local} has no ${attribute}`);
  return value;
}

/** Resolves a reference as `type="wt:Schedule_Type"`. */
export function reference(at: XmlElement, text: string, frame: Frame): QName {
  const name = resolveQName(at.scope, text);
  if (name === undefined) throw new Error(`${frame.path}: the prefix of ${text} is not declared`);
  return name;
}

export const unsupported = (at: XmlElement, frame: Frame): Error => new Error(`${frame.path}: ${at.local} ${attributeOf(at, 'name') ?? ''} is a part of XML Schema that is not read here`);
