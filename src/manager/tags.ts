/** Tags of the caller's resources. */
import { Fault } from '../lease/faults.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import { defaultGroupId } from '../network/mirror.ts';
import type { Db, Queryable } from '../store/db.ts';
import { lockBelongings, removeAllTags, removeTags, resourcesOverTagLimit, setTags, taggableResources, tagsOf } from '../store/tags.ts';
import { moveEnd } from './lease-end.ts';
import { ensureDefaultGroup } from './default-group.ts';
import { checkIds } from './named-leases.ts';
import { checkResourceId, resourceNotFound, resourceType } from './resources.ts';
import type { SiteDecision } from './site-decision.ts';
import { checkTags, isWritable, MOST_TAGS, tagLimit } from './tag-rules.ts';
import type { Caller, Manager } from './types.ts';

export { checkTags } from './tag-rules.ts';

/** EC2 API reference, CreateTags: up to 1000 resources. */
const MOST_RESOURCES = 1000;
const MOST_LISTED = 50_000;

interface Deps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly decision?: SiteDecision | undefined;
}

export function tagCases({ ctx, db, config, decision }: Deps): Manager['tags'] {
  return {
    async set(caller, resourceIds, tags, options = {}) {
      const { end } = options;
      checkTags(tags, end !== undefined);
      if (end !== undefined) await decision?.extend(caller, checkIds(resourceIds), end);
      await onResources({ ctx, db }, caller, resourceIds, options, async (tx, owned) => {
        if (end !== undefined) await moveEnd({ ctx, config }, tx, caller, resourceIds, end);
        await writeTags(tx, owned, tags);
        const [over] = await tx.query(resourcesOverTagLimit, [owned.map((r) => r.id), MOST_TAGS]);
        if (over !== undefined) throw tagLimit([`${over.resource_id} would have ${over.tags}`]);
      });
    },

    async remove(caller, resourceIds, tags, options = {}) {
      await onResources({ ctx, db }, caller, resourceIds, options, async (tx, owned) => {
        const ids = owned.map((r) => r.id);
        if (tags.length === 0) {
          await tx.query(removeAllTags, [ids]);
          return;
        }
        const possible = tags.filter((t) => isWritable(t.key) && isWritable(t.value ?? ''));
        await tx.query(removeTags, [ids, possible.map((t) => t.key), possible.map((t) => t.value ?? null)]);
      });
    },

    async list(caller, query = {}) {
      const goneBefore = new Date(ctx.clock.now() - config.ec2.terminated_visible * 1000);
      const ids = query.resourceIds?.filter(isWritable);
      const rows = await db.query(tagsOf, [accountOf(caller), ids ?? null, goneBefore, MOST_LISTED + 1]);
      if (rows.length > MOST_LISTED) throw new Fault('TooMany', `There are more than ${MOST_LISTED} tags: name the resources`);
      return rows.map((t) => ({ resourceId: t.resource_id, resourceType: resourceType(t.resource_id), key: t.key, value: t.value }));
    },
  };
}

interface Owned {
  readonly id: string;
  readonly account_id: number;
}

/** Tags of new resources, within the transaction that makes them; checked by `checkTags` already. */
export async function writeTags(tx: Queryable, owned: readonly Owned[], tags: Readonly<Record<string, string>>): Promise<void> {
  const keys = Object.keys(tags);
  if (keys.length === 0) return;
  await tx.query(setTags, [owned.map((r) => r.id), owned.map((r) => r.account_id), keys, Object.values(tags)]);
}

const accountOf = (caller: Caller): number | null => (caller.admin ? null : caller.accountId);

async function onResources(
  { ctx, db }: Pick<Deps, 'ctx' | 'db'>, caller: Caller, resourceIds: readonly string[], options: { dryRun?: boolean },
  work: (tx: Queryable, owned: readonly Owned[]) => Promise<void>,
): Promise<void> {
  const ids = [...new Set(resourceIds)];
  if (ids.length > MOST_RESOURCES) throw new Fault('ParameterInvalid', `A call names at most ${MOST_RESOURCES} resources`, [`${ids.length} named`]);
  ids.forEach(checkResourceId);
  await db.transaction(async (tx) => {
    if (ids.includes(defaultGroupId(caller.ownerId))) await ensureDefaultGroup(tx, caller, new Date(ctx.clock.now()));
    const owned = await tx.query(taggableResources, [ids, accountOf(caller), caller.accountId]);
    const found = new Set(owned.map((r) => r.id));
    const missing = ids.find((id) => !found.has(id));
    if (missing !== undefined) throw resourceNotFound(missing);
    for (const account of new Set(owned.map((r) => r.account_id).sort((a, b) => a - b))) await tx.query(lockBelongings, [account]);
    await work(tx, owned);
    // Thrown inside, so that what was tried is rolled back.
    if (options.dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
  });
}
