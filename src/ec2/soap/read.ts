/**
 * A request's elements → the same tree that Query parameters become, so that reading and checking are one. Elements may come
 * in any order; one that the version does not have, or that is there twice, is refused.
 */
import { Fault } from '../../lease/faults.ts';
import { attributeOf, elementsOf, textOf, type XmlElement } from '../../soap/xml/tree.ts';
import { shown } from '../inputs.ts';
import type { ParamNode } from '../params.ts';
import type { Field } from './shapes.ts';

const NIL = '{http://www.w3.org/2001/XMLSchema-instance}nil';

/** @param element the body's first element. @throws Fault */
export function readRequest(element: XmlElement, fields: readonly Field[]): ParamNode {
  const node: ParamNode = { value: undefined, children: new Map() };
  readFields(element, fields, node);
  return node;
}

function readFields(element: XmlElement, fields: readonly Field[], into: ParamNode): void {
  if (textOf(element).trim() !== '') throw malformed(`${shown(element.local)} holds text where elements belong`);
  const seen = new Set<string>();
  let chosen: string | undefined;
  for (const child of elementsOf(element)) {
    const choice = fields.find((f) => f.shape.kind === 'choice' && f.shape.fields.some((o) => o.name === child.local));
    const field = choice?.shape.kind === 'choice' ? choice.shape.fields.find((o) => o.name === child.local) : fields.find((f) => f.name === child.local && f.shape.kind !== 'choice');
    if (field === undefined || child.ns !== element.ns) throw unknown(element, child);
    if (seen.has(child.local)) throw malformed(`${shown(child.local)} stands twice in ${shown(element.local)}`);
    seen.add(child.local);
    if (isNil(child)) continue;
    if (choice?.shape.kind === 'choice') {
      if (chosen !== undefined) throw malformed(`${shown(chosen)} and ${shown(child.local)} exclude each other in ${shown(element.local)}`);
      chosen = child.local;
      if (choice.shape.names !== undefined) {
        add(into, choice.shape.names, { value: child.local, children: undefined });
        continue;
      }
    }
    readField(child, field, into);
  }
}

function readField(element: XmlElement, { name, from, shape }: Field, into: ParamNode): void {
  const parameter = from ?? capital(name);
  switch (shape.kind) {
    case 'leaf':
      return add(into, parameter, { value: leafOf(element), children: undefined });
    case 'userData':
      return add(into, parameter, { value: userDataOf(element), children: undefined });
    case 'struct': {
      const node: ParamNode = { value: undefined, children: new Map() };
      readFields(element, shape.fields, node);
      // `<placement/>` says nothing; an element that is empty by its schema says that it is there.
      if (node.children?.size !== 0 || shape.fields.length === 0) add(into, parameter, node);
      return;
    }
    case 'ids': {
      const node = itemsOf(element, (item, at) => readFields(item, [{ name: shape.leaf, optional: false, from: VALUE, shape: { kind: 'leaf', type: 'string' } }], at));
      return addList(into, from ?? capital(shape.leaf), new Map([...node].map(([i, n]) => [i, n.children?.get(VALUE) ?? n])));
    }
    case 'items':
      return addList(into, parameter, itemsOf(element, (item, at) => readFields(item, shape.fields, at)));
    case 'choice':
      throw new Error(`a choice has no element of its own: ${name}`);
  }
}

const VALUE = '=';

function itemsOf(element: XmlElement, read: (item: XmlElement, at: ParamNode) => void): Map<string, ParamNode> {
  const found = new Map<string, ParamNode>();
  for (const item of elementsOf(element)) {
    if (item.local !== 'item' || item.ns !== element.ns) throw unknown(element, item);
    const node: ParamNode = { value: undefined, children: new Map() };
    read(item, node);
    found.set(String(found.size + 1), node);
  }
  return found;
}

function addList(into: ParamNode, parameter: string, found: Map<string, ParamNode>): void {
  if (found.size > 0) add(into, parameter, { value: undefined, children: found });
}

function add(into: ParamNode, parameter: string, node: ParamNode): void {
  into.children ??= new Map();
  into.children.set(parameter, node);
}

function leafOf(element: XmlElement): string {
  const [child] = elementsOf(element);
  if (child !== undefined) throw unknown(element, child);
  return textOf(element);
}

/** The type has mixed content: some clients write the data into the element itself. */
function userDataOf(element: XmlElement): string {
  const encoding = attributeOf(element, 'encoding');
  if (encoding !== undefined && encoding !== 'base64') throw new Fault('UserDataMalformed', `User data is base64, not ${shown(encoding)}.`);
  const [data, more] = elementsOf(element);
  if (data === undefined) return textOf(element).trim();
  if (more !== undefined || data.local !== 'data' || data.ns !== element.ns) throw unknown(element, more ?? data);
  return leafOf(data);
}

const isNil = (element: XmlElement): boolean => {
  const nil = attributeOf(element, NIL);
  return nil === 'true' || nil === '1';
};
const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
const malformed = (what: string): Fault => new Fault('ParameterInvalid', `The request is not of its version's form: ${what}.`);
const unknown = (parent: XmlElement, child: XmlElement): Fault => new Fault('ParameterUnknown', `The element ${shown(child.local)} in ${shown(parent.local)} is not recognized; this version does not have it`);
