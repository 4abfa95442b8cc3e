/** The tree of a document as the XPath library walks it. Every look at a neighbour costs a step of the budget. */
import type { XmlAttribute, XmlElement } from '../soap/xml/tree.ts';

export interface Budget {
  left: number;
}

const ELEMENT = 1;
const ATTRIBUTE = 2;
const TEXT = 3;
const DOCUMENT = 9;

export class DomNode {
  readonly nodeType: number;
  readonly nodeName: string;
  readonly localName: string | null;
  readonly namespaceURI: string | null;
  readonly prefix: string | null;
  readonly nodeValue: string | null;
  /** The element that it stands for. */
  readonly source: XmlElement | undefined;
  /** Of attributes. */
  readonly ownerElement: DomNode | null;
  readonly attributes: readonly DomNode[] = [];
  readonly #budget: Budget;
  readonly #parent: DomNode | null;
  readonly #children: DomNode[] = [];
  #index = 0;
  #document: DomNode | null = null;

  constructor(budget: Budget, facts: { type: number; name: string; parent: DomNode | null; value?: string; element?: XmlElement; attribute?: XmlAttribute }) {
    const named = facts.element ?? facts.attribute;
    this.#budget = budget;
    this.#parent = facts.type === ATTRIBUTE ? null : facts.parent;
    this.ownerElement = facts.type === ATTRIBUTE ? facts.parent : null;
    this.nodeType = facts.type;
    this.nodeName = facts.name;
    this.localName = named?.local ?? null;
    this.namespaceURI = named === undefined || named.ns === '' ? null : named.ns;
    this.prefix = named?.prefix ?? null;
    this.nodeValue = facts.value ?? null;
    this.source = facts.element;
    this.#document = facts.parent === null ? null : facts.parent.#document ?? facts.parent;
    if (facts.element !== undefined) this.attributes = facts.element.attributes.map((a) => new DomNode(budget, { type: ATTRIBUTE, name: a.local, parent: this, value: a.value, attribute: a }));
  }

  /** While the tree is made. */
  append(child: DomNode): void {
    child.#index = this.#children.length;
    this.#children.push(child);
  }

  get ownerDocument(): DomNode | null { return this.#document; }
  get documentElement(): DomNode | null { return this.#children[0] ?? null; }
  get data(): string | null { return this.nodeValue; }
  get value(): string | null { return this.nodeValue; }
  get parentNode(): DomNode | null { return this.#step(this.#parent); }
  get childNodes(): readonly DomNode[] { return this.#step(this.#children); }
  get firstChild(): DomNode | null { return this.#step(this.#children[0] ?? null); }
  get lastChild(): DomNode | null { return this.#step(this.#children.at(-1) ?? null); }
  get nextSibling(): DomNode | null { return this.#step(this.#beside(1)); }
  get previousSibling(): DomNode | null { return this.#step(this.#beside(-1)); }

  #beside(by: number): DomNode | null {
    return this.#parent === null ? null : this.#parent.#children[this.#index + by] ?? null;
  }

  #step<T>(to: T): T {
    this.#budget.left -= 1;
    if (this.#budget.left <= 0) throw new Error('too many steps');
    return to;
  }
}

export function documentOf(root: XmlElement, budget: Budget): DomNode {
  const document = new DomNode(budget, { type: DOCUMENT, name: '#document', parent: null });
  document.append(elementOf(root, document, budget));
  return document;
}

function elementOf(element: XmlElement, parent: DomNode, budget: Budget): DomNode {
  const node = new DomNode(budget, { type: ELEMENT, name: element.prefix === '' ? element.local : `${element.prefix}:${element.local}`, parent, element });
  for (const child of element.children) {
    node.append(typeof child === 'string' ? new DomNode(budget, { type: TEXT, name: '#text', parent: node, value: child }) : elementOf(child, node, budget));
  }
  return node;
}
