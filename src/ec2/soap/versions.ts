/** What each SOAP version has of the table of operations, ready to read and write. */
import type { Writer } from '../long-answers.ts';
import type { Operation } from '../operation.ts';
import { OPERATIONS } from '../operations/index.ts';
import { SOAP_FORMS } from './forms/index.ts';
import { WITHOUT_FORM } from './forms/others.ts';
import { fieldsAt, SOAP_VERSIONS, type Field, type SoapVersion } from './shapes.ts';
import { compileResponse } from './write.ts';

export interface SoapAction {
  readonly operation: Operation;
  readonly request: readonly Field[];
  readonly response: readonly Field[];
  readonly write: Writer;
}

export interface SoapVersionTable {
  readonly version: SoapVersion;
  readonly namespace: string;
  readonly actions: ReadonlyMap<string, SoapAction>;
  /** Of the version, but not of this service. */
  readonly absent: ReadonlySet<string>;
  /** Answers begin with the request's id. */
  readonly requestId: boolean;
}

export const namespaceOf = (version: string): string => `http://ec2.amazonaws.com/doc/${version}/`;

export function tableOf(version: SoapVersion, operations: ReadonlyMap<string, Operation> = OPERATIONS): SoapVersionTable {
  const actions = new Map<string, SoapAction>();
  const absent = new Set(SOAP_VERSIONS.filter((v) => v <= version).flatMap((v) => WITHOUT_FORM[v]));
  for (const [name, form] of Object.entries(SOAP_FORMS)) if (form.since <= version) absent.add(name);
  for (const operation of operations.values()) {
    const { name, soap: form } = operation;
    if (form === undefined || form.since > version) continue;
    absent.delete(name);
    const response = fieldsAt(form.response, version);
    actions.set(name, { operation, request: fieldsAt(form.request, version), response, write: compileResponse(response) });
  }
  return { version, namespace: namespaceOf(version), actions, absent, requestId: version !== '2008-05-05' };
}

/** By namespace. */
export const SOAP_TABLES: ReadonlyMap<string, SoapVersionTable> = new Map(SOAP_VERSIONS.map((v) => [namespaceOf(v), tableOf(v)]));

/**
 * Of Query's answers: elements that came later break the parsers of old clients (rules of egress those of right_aws), and
 * groups had no ids then. So a version of those years is answered in the SOAP form of its day, which Query shared; between two of
 * them in the later one's. Paging came with later versions: who pages is answered as of today.
 */
export function queryWriter(operation: Operation, version: string, values: Readonly<Record<string, unknown>>): Writer {
  const of = SOAP_VERSIONS.find((v) => version <= v);
  const form = of === undefined || values['nextToken'] !== undefined ? undefined : SOAP_TABLES.get(namespaceOf(of))?.actions.get(operation.name);
  return form?.write ?? operation.write;
}
