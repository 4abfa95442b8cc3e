/**
 * XPath 1.0 over a resource's properties. An expression is short, and its evaluation takes a bounded number of steps from node to
 * node: what would take longer is refused, not waited for.
 */
import { selectWithResolver } from 'xpath';
import { Fault } from '../lease/faults.ts';
import { sourceOf, type SoapObject, type SoapValue } from '../soap/schema/codec.ts';
import { namespaceOf, type XmlElement } from '../soap/xml/tree.ts';
import { readXml } from '../soap/xml/read.ts';
import { documentOf, type Budget, type DomNode } from './dom.ts';

const LONGEST = 1_000;
const MOST_STEPS = 200_000;
const MOST_FOUND = 1_000;
/** Brackets in brackets. */
const DEEPEST = 16;

/**
 * @param expression as it was decoded: its prefixes are those of the message
 * @throws Fault ParameterInvalid for what is no expression, TooMany for what takes too long
 */
export function select(document: string, path: string, expression: SoapObject): SoapValue {
  checkShape(path);
  const budget: Budget = { left: MOST_STEPS };
  const root = documentOf(readXml(Buffer.from(document)), budget);
  const result = evaluate(path, root, sourceOf(expression), budget);
  if (typeof result === 'string') return { $: result };
  const elements = result.flatMap((node) => node.source ?? []);
  if (elements.length > MOST_FOUND) throw new Fault('TooMany', `a query finds at most ${MOST_FOUND} nodes`);
  return elements.length > 0 ? { any: elements } : { $: result.map((n) => n.nodeValue ?? '').join(' ') };
}

function checkShape(path: string): void {
  if (path.length > LONGEST) throw new Fault('ParameterInvalid', `a query has at most ${LONGEST} characters`);
  let depth = 0;
  for (const c of path) {
    if (c === '[' || c === '(') depth += 1;
    if (c === ']' || c === ')') depth -= 1;
    if (depth > DEEPEST) throw new Fault('ParameterInvalid', 'the query is nested too deeply');
  }
}

function evaluate(path: string, root: DomNode, source: XmlElement | undefined, budget: Budget): readonly DomNode[] | string {
  try {
    const resolver = { lookupNamespaceURI: (prefix: string | null) => namespaceOf(source?.scope, prefix ?? '') ?? null };
    const found = selectWithResolver(path, root, resolver);
    return typeof found === 'object' ? found as readonly DomNode[] : String(found);
  } catch (e) {
    if (budget.left <= 0) throw new Fault('TooMany', 'the query takes too many steps', [], { cause: e });
    throw new Fault('ParameterInvalid', `the query cannot be evaluated: ${e instanceof Error ? e.message : String(e)}`, [], { cause: e });
  }
}
