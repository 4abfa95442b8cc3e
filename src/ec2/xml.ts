/** XML text and the two documents of the Query protocol: a response and an error. */

const SPECIAL = /[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]/;
// Pairs of surrogates stand first, so that only a lone one is replaced.
const EACH = /[\ud800-\udbff][\udc00-\udfff]|[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]/g;
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' };

/** Text for element content. Characters that XML 1.0 cannot carry become U+FFFD. */
export function escapeXml(text: string): string {
  return SPECIAL.test(text) ? text.replace(EACH, (c) => ENTITIES[c] ?? (c.length === 2 ? c : '\ufffd')) : text;
}

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** libcloud finds nothing unless the namespace is the request's Version with a trailing slash. */
export function responseDocument(action: string, version: string, requestId: string, content: string): string {
  return `${DECLARATION}<${action}Response xmlns="http://ec2.amazonaws.com/doc/${version}/"><requestId>${requestId}</requestId>${content}</${action}Response>`;
}

/** No namespace, and exactly two children of Error: libcloud unpacks them by position. */
export function errorDocument(code: string, message: string, requestId: string): string {
  return `${DECLARATION}<Response><Errors><Error><Code>${escapeXml(code)}</Code><Message>${escapeXml(message)}</Message></Error></Errors><RequestID>${requestId}</RequestID></Response>`;
}
