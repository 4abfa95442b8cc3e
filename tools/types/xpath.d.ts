/** What is used of the XPath library: its own declarations bring those of browsers with them. */
export interface NamespaceResolver {
  lookupNamespaceURI(prefix: string | null): string | null;
}
export function selectWithResolver(expression: string, node: unknown, resolver: NamespaceResolver): readonly unknown[] | string | number | boolean;
