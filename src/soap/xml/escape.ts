/** Text as XML carries it. Characters that XML 1.0 cannot carry become U+FFFD. */

const SPECIAL = /[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]/;
// Pairs of surrogates stand first, so that only a lone one is replaced.
const EACH = /[\ud800-\udbff][\udc00-\udfff]|[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]/g;
const BLANKS = /[\t\n]/g;
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' };

/** Text for element content. */
export function escapeXml(text: string): string {
  return SPECIAL.test(text) ? text.replace(EACH, (c) => ENTITIES[c] ?? (c.length === 2 ? c : '\ufffd')) : text;
}

/** Text for an attribute in double quotes: readers turn line ends and tabs in attributes into spaces. */
export function escapeAttribute(text: string): string {
  return escapeXml(text).replace(BLANKS, (c) => (c === '\t' ? '&#9;' : '&#10;'));
}
