/**
 * Paging tokens hold the place themselves (the last item's key), so they need no memory here and stay good while items
 * come and go.
 */
import { Fault } from '../lease/faults.ts';
import { integer, string } from './inputs.ts';

export const pagingInputs = {
  MaxResults: integer(1, 1000),
  NextToken: string({ max: 1024 }),
};

export function writeToken(operation: string, lastKey: string): string {
  return Buffer.from(`1 ${operation} ${lastKey}`).toString('base64url');
}

/** The key after which the page begins, or undefined for the first page. */
export function readToken(operation: string, token: string | undefined): string | undefined {
  if (token === undefined) return undefined;
  const text = Buffer.from(token, 'base64url').toString();
  const prefix = `1 ${operation} `;
  const key = text.slice(prefix.length);
  if (!text.startsWith(prefix) || key === '' || writeToken(operation, key) !== token) {
    throw new Fault('TokenPageInvalid', `The token '${token.length > 40 ? `${token.slice(0, 40)}…` : token}' is invalid`);
  }
  return key;
}

/** One page of items that are all at hand. `keyOf` orders them and is unique. */
export function page<T>(operation: string, items: readonly T[], keyOf: (item: T) => string, paging: { MaxResults: number | undefined; NextToken: string | undefined }): { items: readonly T[]; nextToken?: string } {
  const after = readToken(operation, paging.NextToken);
  const sorted = items.map((item) => ({ key: keyOf(item), item })).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const rest = after === undefined ? sorted : sorted.filter((s) => s.key > after);
  const shown = rest.slice(0, paging.MaxResults);
  const last = shown.at(-1);
  return {
    items: shown.map((s) => s.item),
    ...(last !== undefined && shown.length < rest.length ? { nextToken: writeToken(operation, last.key) } : {}),
  };
}
