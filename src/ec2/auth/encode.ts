/** RFC 3986 encoding as both signature versions use it: all but `A-Z a-z 0-9 - _ . ~` as %XX. */
const PLAIN = /^[A-Za-z0-9_.~-]*$/;

export function encodeRfc3986(text: string): string {
  if (PLAIN.test(text)) return text;
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Encoded `name=value` pairs, sorted by name. Names are unique and ASCII, so their order is the order of their bytes. */
export function canonicalQuery(params: ReadonlyMap<string, string>, except: string): string {
  const pairs: Array<readonly [name: string, value: string]> = [];
  for (const [name, value] of params) if (name !== except) pairs.push([encodeRfc3986(name), value]);
  pairs.sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.map(([name, value]) => `${name}=${encodeRfc3986(value)}`).join('&');
}
