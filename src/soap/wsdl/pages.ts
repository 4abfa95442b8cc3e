/** What `?wsdl` answers: a service's files as they are, with the addresses that this client can use. */
import { posix } from 'node:path';
import { escapeAttribute } from '../xml/escape.ts';
import type { Descriptions } from './types.ts';

/**
 * `query` is that of the URL, without its question mark: `wsdl` gives the service's own file, `wsdl=PATH` and `xsd=PATH`
 * what it imports. `base` is the URL of all services, with a slash at the end. Undefined for anything else.
 */
export function wsdlPage(descriptions: Descriptions, service: string, query: string, base: string): string | undefined {
  const found = descriptions.services.get(service);
  const asked = /^(wsdl|xsd)(?:=([\w./-]+))?$/i.exec(query);
  if (found === undefined || asked === null) return undefined;
  const [, kind = '', path] = asked;
  if (path === undefined && kind.toLowerCase() !== 'wsdl') return undefined;
  const document = path ?? found.document;
  const text = descriptions.documents.get(document);
  return text === undefined ? undefined : addressed(text, document, base, service);
}

/** Locations in the files are relative and written without blanks around the sign of equality; a test holds them to that. */
function addressed(text: string, document: string, base: string, service: string): string {
  const url = `${base}${service}`;
  return text
    .replace(/ (location|schemaLocation)="(?!https?:)([^"]+)"/g, (_, attribute: string, location: string) => {
      const path = posix.join(posix.dirname(document), location);
      return ` ${attribute}="${escapeAttribute(`${url}?${path.endsWith('.xsd') ? 'xsd' : 'wsdl'}=${path}`)}"`;
    })
    .replace(/(<soap:address location=")https?:[^"]*\/([^"/]*")/g, (_, before: string, after: string) => `${before}${escapeAttribute(base)}${after}`);
}
