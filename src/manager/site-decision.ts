/**
 * The site's own decision on creates, later ends and other types: asked before the transaction, so that it holds no locks while it thinks, and
 * after everything else about the request was found good. docs/policies.md is the contract of what is asked and answered.
 */
import { z } from 'zod';
import { Fault } from '../lease/faults.ts';
import { writable } from '../lease/text.ts';
import type { LeaseType } from '../lease/types.ts';
import type { Context } from '../platform/context.ts';
import { OutsideFailed, type Outside } from '../platform/outside/index.ts';
import type { Db } from '../store/db.ts';
import { imageById } from '../store/images.ts';
import { leasesByIds, type LeaseRow } from '../store/leases.ts';
import type { Order, ResolvedRequest } from './resolved.ts';
import type { Caller, NewEnd } from './types.ts';
import { readLeases } from './view.ts';

/** Version of what is asked; raised when something in it changes its meaning. */
const CONTRACT = 1;
const MOST_REASONS = 10;
const LONGEST_REASON = 300;

const answerSchema = z.union([
  z.object({ allow: z.literal(true) }),
  z.object({ allow: z.literal(false), reasons: z.array(z.string()).default([]) }),
]);

export interface SiteVerdict {
  readonly allowed: boolean;
  readonly reasons: readonly string[];
  /** Why there was no answer; what is done then is the configuration's to say. */
  readonly failure: string | null;
}

export interface SiteDecision {
  /** @throws Fault NotAuthorized, DecisionFailed */
  create(caller: Caller, order: Order): Promise<void>;
  /** Asked of the caller's own leases that would end later. @throws Fault NotAuthorized, DecisionFailed */
  extend(caller: Caller, ids: readonly string[], end: NewEnd): Promise<void>;
  /** Asked of the caller's own lease that would be of this type. @throws Fault NotAuthorized, DecisionFailed */
  resize(caller: Caller, id: string, type: LeaseType): Promise<void>;
  /** As `create`, for who only wants to know; the request says so. */
  explain(caller: Caller, order: Order): Promise<SiteVerdict>;
}

export function createSiteDecision({ ctx, db, outside, onFailure }: {
  readonly ctx: Context; readonly db: Db; readonly outside: Outside; readonly onFailure: 'refuse' | 'allow';
}): SiteDecision {
  async function ask(caller: Caller, what: object): Promise<SiteVerdict> {
    const { requestId, name, ownerId, admin } = caller;
    try {
      const answer = answerSchema.safeParse(await outside.ask({ version: CONTRACT, requestId, at: ctx.clock.now(), user: { name, ownerId, admin }, ...what }));
      if (!answer.success) throw new OutsideFailed('its answer is neither { allow: true } nor { allow: false, reasons: [...] }');
      return { allowed: answer.data.allow, reasons: answer.data.allow ? [] : answer.data.reasons.slice(0, MOST_REASONS).map(reasonText), failure: null };
    } catch (e) {
      if (!(e instanceof OutsideFailed)) throw e;
      ctx.log.error('the site’s own decision could not be had', { requestId, user: name, error: e.message, then: onFailure });
      return { allowed: onFailure === 'allow', reasons: [], failure: e.message };
    }
  }

  return {
    create: async (caller, order) => requireVerdict(await ask(caller, { kind: 'create', explain: false, requests: order.map(requestView) })),
    explain: (caller, order) => ask(caller, { kind: 'create', explain: true, requests: order.map(requestView) }),
    async extend(caller, ids, end) {
      const endsAt = 'endsAt' in end ? end.endsAt : ctx.clock.now() + end.durationS * 1000;
      const mine = (await readLeases(db, leasesByIds, [ids, caller.accountId])).filter((l) => l.ends_at !== null && l.ends_at < endsAt);
      if (mine.length > 0) requireVerdict(await ask(caller, { kind: 'extend', explain: false, leases: mine.map((l) => ({ ...leaseView(l), newEndsAt: endsAt })) }));
    },
    async resize(caller, id, type) {
      const [lease] = await readLeases(db, leasesByIds, [[id], caller.accountId]);
      if (lease === undefined) return;
      const [image] = await db.query(imageById, [lease.image_id]);
      requireVerdict(await ask(caller, {
        kind: 'resize', explain: false, requests: [resizedView(lease, type, image?.owner ?? null)], leases: [{ ...leaseView(lease), newType: type.name, newMemoryMb: type.memoryMb, newCores: type.cores }],
      }));
    },
  };
}

const reasonText = (text: string): string => writable(text.slice(0, LONGEST_REASON));

/** What users are told of a failure is that there was one; the log has the rest. */
function requireVerdict(v: SiteVerdict): void {
  if (v.allowed) return;
  if (v.failure !== null) throw new Fault('DecisionFailed', 'The site decides on requests by itself, and its answer could not be had; try again shortly.');
  throw new Fault('NotAuthorized', 'The site refuses this request', v.reasons.map((r) => `site decision: ${r}`));
}

/** Neither user data nor keys: they are no matter of permission. */
const requestView = (r: ResolvedRequest): object => ({
  count: { min: r.minCount, max: r.maxCount }, type: r.type, ...r.resources, image: { id: r.image.id, name: r.image.name, owner: r.image.owner },
  networks: r.networks.map((n) => n.name), zone: r.zone, durationS: r.durationS, keyName: r.keyName, tags: r.tags,
});

/** As a request for what the lease will be: who bounds sizes of creates bounds these with the same lines. */
const resizedView = (l: LeaseRow, type: LeaseType, imageOwner: string | null): object => ({
  count: { min: 1, max: 1 }, type: type.name, memoryMb: type.memoryMb, cores: type.cores, diskMb: l.disk_mb, image: { id: l.image_id, name: l.image_name, owner: imageOwner },
  networks: l.nics.map((n) => n.network), zone: l.zone, durationS: l.ends_at === null ? 0 : Math.ceil((l.ends_at - l.created_at) / 1000), keyName: l.key_name, tags: l.tags ?? {},
});

const leaseView = (l: LeaseRow): object => ({
  id: l.id, type: l.type, memoryMb: l.memory_mb, cores: l.cores, image: l.image_name, zone: l.zone, createdAt: l.created_at, endsAt: l.ends_at, tags: l.tags ?? {},
});
