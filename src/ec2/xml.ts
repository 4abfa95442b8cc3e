/** The two documents of the Query protocol: a response and an error. */
import { escapeXml } from '../soap/xml/escape.ts';

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** libcloud finds nothing unless the namespace is the request's Version with a trailing slash. */
export function responseDocument(action: string, version: string, requestId: string, content: string): string {
  return `${DECLARATION}<${action}Response xmlns="http://ec2.amazonaws.com/doc/${version}/"><requestId>${requestId}</requestId>${content}</${action}Response>`;
}

/** No namespace, and exactly two children of Error: libcloud unpacks them by position. */
export function errorDocument(code: string, message: string, requestId: string): string {
  return `${DECLARATION}<Response><Errors><Error><Code>${escapeXml(code)}</Code><Message>${escapeXml(message)}</Message></Error></Errors><RequestID>${requestId}</RequestID></Response>`;
}
