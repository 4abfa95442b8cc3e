/** Grid clients' requests, their bodies and header blocks, and what is found in answers. For tests and benches. */
import { request, type RequestOptions } from 'node:https';
import { LIFETIME, PROPERTIES, TYPES, WORKSPACE, XPATH_DIALECT } from '../../src/wsrf/wire/names.ts';

const NEGOTIABLE = 'http://www.globus.org/2008/06/workspace/negotiable';
const METADATA = 'http://www.globus.org/2008/06/workspace/metadata';

export interface CreateBody {
  /** Name of an image. */
  readonly image: string;
  readonly count?: number;
  readonly memoryMb?: number;
  readonly name?: string;
}

/** A create of the factory. */
export const createBody = ({ image, count = 1, memoryMb = 1, name = 'http://test' }: CreateBody): string => `<create xmlns="${WORKSPACE}" xmlns:t="${TYPES}" xmlns:n="${NEGOTIABLE}" xmlns:j="http://schemas.ggf.org/jsdl/2005/11/jsdl"
  xmlns:d="${METADATA}/definition"><t:metadata><m:name xmlns:m="${METADATA}">${name}</m:name>
  <d:definition><d:requirements><j:CPUArchitecture><j:CPUArchitectureName>x86</j:CPUArchitectureName></j:CPUArchitecture></d:requirements>
  <d:diskCollection><d:rootVBD><d:location>file://${image}</d:location><d:mountAs>sda1</d:mountAs></d:rootVBD></d:diskCollection></d:definition></t:metadata>
  <t:resourceRequest><n:DeploymentTime><n:minDuration>PT4H</n:minDuration></n:DeploymentTime><n:InitialState>Running</n:InitialState>
  <n:ResourceAllocation><j:IndividualPhysicalMemory><j:Exact>${memoryMb}</j:Exact></j:IndividualPhysicalMemory></n:ResourceAllocation><n:NodeNumber>${count}</n:NodeNumber></t:resourceRequest></create>`;

export const QUERY_ALL = `<QueryResourceProperties xmlns="${PROPERTIES}"><QueryExpression Dialect="${XPATH_DIALECT}">/</QueryExpression></QueryResourceProperties>`;
export const DESTROY = `<Destroy xmlns="${LIFETIME}"/>`;

/** `attributes`: of the block, as `wsu:Id="key"`. */
export const keyBlock = (key: string | number, attributes = ''): string => `<k:WorkspaceKey xmlns:k="${WORKSPACE}"${attributes}>${key}</k:WorkspaceKey>`;
export const keysIn = (text: string): string[] => [...text.matchAll(/WorkspaceKey[^>]*>(\d+)</g)].map((m) => m[1] ?? '');

export const envelopeOf = (body: string, header = ''): string => `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>${header}</s:Header><s:Body>${body}</s:Body></s:Envelope>`;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own, to whoever answers there. */
export function post(base: string, service: string, envelope: string, tls: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(base + service, { method: 'POST', agent: false, rejectUnauthorized: false, headers: { 'content-type': 'text/xml' }, ...tls }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; });
      response.on('error', reject).on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject).end(envelope);
  });
}
