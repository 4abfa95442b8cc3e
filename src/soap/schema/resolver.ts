/** What the parts of the schema's loader give each other. */
import type { Components, Frame } from './collect.ts';
import type { ElementDeclaration, Type } from './model.ts';
import type { Clark } from '../names.ts';
import type { XmlElement } from '../xml/tree.ts';

/** Finds what components refer to. Each is made when it is first asked for, once. */
export interface Resolver {
  readonly components: Components;
  type(name: Clark, from: Frame): Type;
  element(name: Clark, from: Frame): ElementDeclaration;
  /** An element as it is declared where it stands, in the namespace that is given. */
  declaration(at: XmlElement, frame: Frame, ns: string): ElementDeclaration;
  /** The type that an element or attribute names or holds; undefined when it does neither. */
  typeOf(at: XmlElement, frame: Frame): Type | undefined;
}
