/**
 * One request of the Query protocol, from its bytes to the bytes of its answer; sockets stand in `server.ts`.
 * Order: parameters are decoded, the signature is checked, then version and action, then the action's parameters.
 * Nothing but the signature's own parts is read from an unproven request.
 */
import { Fault, FAULTS, isFault } from '../lease/faults.ts';
import type { Account, Caller, Manager } from '../manager/types.ts';
import type { Context, Log } from '../platform/context.ts';
import { DeadlineExceeded, withDeadline } from '../platform/deadline.ts';
import type { Authenticator } from './auth/authenticate.ts';
import type { ReplayGuard } from './auth/replay.ts';
import type { SignedRequest } from './auth/request.ts';
import { apiOf, type Api } from './api.ts';
import { shown } from './inputs.ts';
import { written } from './long-answers.ts';
import type { Operation } from './operation.ts';
import { paramTree, parseParams } from './params.ts';
import type { FlatParams, ParamNode } from './params.ts';
import type { Throttle } from './throttle.ts';
import { queryWriter } from './soap/versions.ts';

export interface DoorRequest {
  readonly id: string;
  readonly method: string;
  /** Request target as sent: path and query, percent-encoded. */
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly contentType: string | undefined;
  readonly host: string | undefined;
  readonly body: Buffer;
  readonly secure: boolean;
}

export interface Answer {
  readonly status: number;
  /** Text, or its octets in UTF-8. */
  readonly body: string | Buffer;
}

export interface DoorParts {
  readonly ctx: Context;
  readonly manager: Manager;
  readonly authenticator: Authenticator;
  /** Absent when the site does not refuse replays. */
  readonly replays: ReplayGuard | undefined;
  /** Absent when accounts may ask as often as they like. */
  readonly throttle: Throttle | undefined;
  /** Host name that DescribeRegions names, for a request that came to `host`. */
  readonly endpoint: (host: string | undefined) => string;
}

/** Who asks, and the signature that shows it. */
export interface Proven {
  readonly account: Account & { readonly limited?: boolean };
  readonly signatureId: string;
  readonly validUntil: number;
}

const VERSION = /^\d{4}-\d\d-\d\d$/;
const FORM = 'application/x-www-form-urlencoded';
/** The manager's own waits are shorter; this one is the last resort. */
const DEADLINE_MS = 60_000;

export async function answer(parts: DoorParts, request: DoorRequest): Promise<Answer> {
  const begun = parts.ctx.clock.monotonic();
  const log = (): Log => parts.ctx.log.child({ requestId: request.id });
  let action = '';
  let api = apiOf(undefined);
  try {
    const signed = readRequest(request);
    api = apiOf(signed.params.get('Version'));
    const who = await parts.authenticator.authenticate(signed);
    parts.throttle?.take(who.account.accountId);
    action = shown(signed.params.get('Action') ?? '');
    const { operation, version } = findOperation(api, signed.params);
    const values = await perform(parts, request, who, operation, paramTree(signed.params));
    if (operation.mutates) log().info(action, { user: who.account.name, ms: elapsed(parts.ctx, begun) });
    return { status: 200, body: await written(queryWriter(operation, version, values), values, api.response(action, version, request.id)) };
  } catch (e) {
    const fault = asFault(e);
    report(log(), action, fault, e);
    if (fault.code !== 'DryRun') parts.ctx.meter?.refused('ec2', fault.code);
    return refusal(fault, request.id, api);
  }
}

export function refusal(fault: Fault, requestId: string, api: Api = apiOf(undefined)): Answer {
  return { status: fault.http, body: api.refusal(fault, requestId) };
}

function readRequest(request: DoorRequest): SignedRequest {
  if (request.body.length > 0 && request.contentType !== undefined && !request.contentType.toLowerCase().startsWith(FORM)) {
    throw new Fault('RequestMalformed', `The body must be ${FORM}.`);
  }
  // A proxy may send the target in absolute form.
  const target = request.target.startsWith('/') ? request.target : request.target.replace(/^[a-z]+:\/\/[^/?]*/i, '');
  const q = target.indexOf('?');
  const urlQuery = Buffer.from(q < 0 ? '' : target.slice(q + 1), 'latin1');
  const params = parseParams(urlQuery, request.body);
  return {
    method: request.method,
    path: (q < 0 ? target : target.slice(0, q)) || '/',
    query: request.body.length === 0 ? params : parseParams(urlQuery),
    params,
    rawHeaders: request.rawHeaders,
    body: request.body,
    secure: request.secure,
  };
}

function findOperation(api: Api, params: FlatParams): { operation: Operation; version: string } {
  const version = params.get('Version') ?? '';
  if (!VERSION.test(version)) throw new Fault('VersionUnknown', `The parameter Version must be a date as 2016-11-15${version === '' ? '; it is missing' : `, not ${shown(version)}`}.`);
  const action = params.get('Action');
  if (action === undefined || action === '') throw new Fault('ParameterMissing', 'The request must contain the parameter Action');
  return { operation: api.operation(action), version };
}

/** Whoever has proven to be `who` asks for this, by whichever protocol. */
export async function perform(parts: DoorParts, request: DoorRequest, who: Proven, operation: Operation, params: ParamNode): Promise<Readonly<Record<string, unknown>>> {
  const { ctx, manager } = parts;
  const reading = operation.read(params);
  if (operation.mutates && !reading.repeatable && !reading.dryRun) await parts.replays?.use(who.signatureId, who.validUntil);
  const { accountId, name, ownerId, admin, limited } = who.account;
  const caller: Caller = { accountId, name, ownerId, admin, requestId: request.id, door: 'ec2', ...(limited === true ? { limited } : {}) };
  const call = { ctx, manager, caller, dryRun: reading.dryRun, endpoint: parts.endpoint(request.host) };
  const values = await withDeadline(ctx.clock, DEADLINE_MS, operation.name, reading.run(call));
  if (reading.dryRun) throw new Fault('DryRun', FAULTS.DryRun.meaning);
  return values;
}

export function asFault(e: unknown): Fault {
  if (isFault(e)) return e;
  if (e instanceof DeadlineExceeded) return new Fault('Unavailable', 'The service did not finish in time; what was asked may yet happen.', [], { cause: e });
  return new Fault('Internal', 'An internal error has occurred; the request id names it in the service\'s log.', [], { cause: e });
}

export function report(log: Log, action: string, fault: Fault, cause: unknown): void {
  const fields = { action, code: fault.code, status: fault.http };
  if (fault.code === 'Internal') log.error('request failed', { ...fields, error: cause instanceof Error ? cause.stack ?? cause.message : String(cause) });
  else if (fault.http >= 500) log.warn('request refused', { ...fields, reason: fault.text });
  else if (fault.http === 401 || fault.http === 403) log.info('request refused', { ...fields, reason: fault.text });
  else log.debug('request refused', { ...fields, reason: fault.text });
}

export const elapsed = (ctx: Context, begun: number): number => Math.round(ctx.clock.monotonic() - begun);
