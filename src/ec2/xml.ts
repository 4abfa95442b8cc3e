/** The documents of the Query protocol: a response and an error, as EC2 writes them and as STS does. */
import type { Fault } from '../lease/faults.ts';
import { escapeXml } from '../soap/xml/escape.ts';

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
/** What stands before the fields of a response, and after them. */
export type Frame = readonly [before: string, after: string];
const STS = 'https://sts.amazonaws.com/doc/2011-06-15/';

/** libcloud finds nothing unless the namespace is the request's Version with a trailing slash. */
export function responseFrame(action: string, version: string, requestId: string): Frame {
  return [`${DECLARATION}<${action}Response xmlns="http://ec2.amazonaws.com/doc/${version}/"><requestId>${requestId}</requestId>`, `</${action}Response>`];
}

/** No namespace, and exactly two children of Error: libcloud unpacks them by position. */
export function errorDocument(code: string, message: string, requestId: string): string {
  return `${DECLARATION}<Response><Errors><Error><Code>${escapeXml(code)}</Code><Message>${escapeXml(message)}</Message></Error></Errors><RequestID>${requestId}</RequestID></Response>`;
}

export function stsResponseFrame(action: string, requestId: string): Frame {
  return [`${DECLARATION}<${action}Response xmlns="${STS}"><${action}Result>`, `</${action}Result><ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata></${action}Response>`];
}

export function stsErrorDocument(fault: Fault, requestId: string): string {
  const type = fault.http < 500 ? 'Sender' : 'Receiver';
  return `${DECLARATION}<ErrorResponse xmlns="${STS}"><Error><Type>${type}</Type><Code>${escapeXml(fault.ec2)}</Code><Message>${escapeXml(fault.text)}</Message></Error><RequestId>${requestId}</RequestId></ErrorResponse>`;
}
