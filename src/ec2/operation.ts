/**
 * An EC2 operation as data: its parameters, its response fields, and the handler between them. The table of all stands in
 * `operations/index.ts`; parsing, validation, response XML, the SOAP versions and documentation follow from it. Handlers
 * translate to manager calls and decide nothing.
 */
import type { FaultCode } from '../lease/faults.ts';
import type { Manager, Caller } from '../manager/types.ts';
import type { Context } from '../platform/context.ts';
import { boolean, readFields } from './inputs.ts';
import type { InputFields, InputsOf } from './inputs.ts';
import type { Writer } from './long-answers.ts';
import { compileFields, compilePieces } from './outputs.ts';
import type { OutputFields, OutputsOf } from './outputs.ts';
import type { ParamNode } from './params.ts';
import { SOAP_FORMS } from './soap/forms/index.ts';
import type { SoapForm } from './soap/shapes.ts';

export interface Call {
  readonly ctx: Context;
  readonly manager: Manager;
  readonly caller: Caller;
  /** Check and stop: to be passed to manager calls that change something. */
  readonly dryRun: boolean;
  /** Host name that DescribeRegions names. */
  readonly endpoint: string;
}

export interface OperationSpec<I extends InputFields, O extends OutputFields> {
  readonly name: string;
  /** One sentence for the documentation. */
  readonly summary: string;
  readonly input: I;
  /** Parameters that AWS defines and that mean nothing here: read over. All others are UnknownParameter. */
  readonly ignored?: readonly string[];
  readonly output: O;
  /** Faults of this action, beside those that any request may meet (signature, parameters, throttling, database); each has a test. */
  readonly errors?: readonly FaultCode[];
  /** It changes something. */
  readonly mutates: boolean;
  /** False when doing it twice does more than once; such a request is guarded against replay. Default: harmless. */
  readonly repeatable?: (params: InputsOf<I>) => boolean;
  run(call: Call, params: InputsOf<I>): Promise<OutputsOf<O>>;
}

/** A request that was read: what it asks, ready to run. */
export interface Reading {
  readonly dryRun: boolean;
  readonly repeatable: boolean;
  /** @returns the values of the response's fields */
  run(call: Call): Promise<Readonly<Record<string, unknown>>>;
}

export interface Operation {
  readonly name: string;
  readonly summary: string;
  readonly mutates: boolean;
  readonly input: InputFields;
  readonly ignored: readonly string[];
  readonly output: OutputFields;
  readonly errors: readonly FaultCode[];
  /** Its request and response in the SOAP versions that have it. */
  readonly soap: SoapForm | undefined;
  /** @throws Fault */
  read(params: ParamNode): Reading;
  /** The XML of a response's fields, for Query. */
  readonly write: Writer;
}

/** Parameters of the protocol itself, and ones that old clients send with every request. */
const PROTOCOL = [
  'Action', 'Version', 'AWSAccessKeyId', 'Signature', 'SignatureVersion', 'SignatureMethod', 'Timestamp', 'Expires', 'SecurityToken',
  'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Expires', 'X-Amz-SignedHeaders', 'X-Amz-Signature',
  'X-Amz-Security-Token', 'X-Amz-Content-Sha256',
];

export function operation<I extends InputFields, O extends OutputFields>(spec: OperationSpec<I, O>): Operation {
  const input = { ...spec.input, DryRun: boolean };
  const ignored = new Set([...PROTOCOL, ...spec.ignored ?? []]);
  return {
    name: spec.name,
    summary: spec.summary,
    mutates: spec.mutates,
    input,
    ignored: spec.ignored ?? [],
    output: spec.output,
    errors: spec.errors ?? [],
    soap: SOAP_FORMS[spec.name],
    write: Object.assign(compileFields(spec.output), { pieces: compilePieces(spec.output) }),
    read(tree) {
      const params = readFields(input, tree, ignored, '') as InputsOf<I> & { DryRun: boolean | undefined };
      return {
        dryRun: params.DryRun === true,
        repeatable: spec.repeatable?.(params) ?? true,
        run: (call) => spec.run(call, params),
      };
    },
  };
}
