/**
 * Images made of leases that go on: the VM is shut down, its disk saved, the VM started again; or its disk is copied while it runs. The
 * image has its id from the beginning; what becomes of it is the recorder's to write.
 */
import { looksLikeId } from '../images/lookup.ts';
import { requireSpace } from '../images/space.ts';
import { Fault } from '../lease/faults.ts';
import { isName } from '../lease/ids.ts';
import type { Actor } from '../lease/states.ts';
import { newImageId } from '../platform/ids.ts';
import type { Queryable } from '../store/db.ts';
import { insertImageOrder, ordersCalled, unfinishedOrder, usableImageByName } from '../store/images.ts';
import { leasesByIds, type LockedLease } from '../store/leases.ts';
import { lockBelongings } from '../store/tags.ts';
import type { ManagerDeps } from './deps.ts';
import { follow } from './follow.ts';
import { checkIds, lockNamed } from './named-leases.ts';
import { checkTags, writeTags } from './tags.ts';
import { TransitionBatch } from './transitions.ts';
import type { Caller } from './types.ts';
import { readLeases } from './view.ts';

interface NewImage {
  readonly name: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly live?: boolean;
}

export async function makeImage(deps: ManagerDeps, caller: Caller, leaseId: string, image: NewImage, dry: boolean): Promise<string> {
  checkName(image.name);
  checkTags(image.tags);
  const id = newImageId(deps.ctx.random);
  const now = deps.ctx.clock.now();
  const effects = await deps.db.transaction(async (tx) => {
    await tx.query(lockBelongings, [caller.accountId]);
    await checkFree(tx, caller, image.name);
    // How large its disk is will be known when it is there.
    await requireSpace(tx, caller.accountId, deps.config.images.user_mb, 1);
    const lease = (await lockNamed(tx, caller, checkIds([leaseId]))).get(leaseId) as LockedLease;
    const live = image.live === true && lease.state === 'Running';
    const restart = lease.state === 'Running' && !live;
    const batch = new TransitionBatch(deps.ctx.random, now, deps.config.accounting.charge_granularity, deps.self?.id() ?? null);
    await requireIdle(tx, lease);
    save(batch, lease, caller, id, { now, live });
    const [row] = await readLeases(tx, leasesByIds, [[leaseId], null]);
    await tx.query(insertImageOrder, [id, caller.accountId, leaseId, row?.image_id ?? '', image.name, image.description, restart, new Date(now)]);
    await writeTags(tx, [{ id, account_id: caller.accountId }], image.tags);
    // Thrown inside, so that what was tried is rolled back.
    if (dry) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
    return batch.write(tx);
  });
  follow(deps, effects);
  return id;
}

/** @throws Fault StateRefused */
function save(batch: TransitionBatch, lease: LockedLease, caller: Caller, id: string, { now, live }: { now: number; live: boolean }): void {
  const actor: Actor = caller.admin ? 'admin' : 'user';
  const stopped = lease.state === 'Propagated' && lease.running_at !== null;
  const cause = { trigger: live ? 'copy' : 'make-transportable', actor, who: caller.name, why: `its disk becomes the image ${id}`, at: now, requestId: caller.requestId } as const;
  if ((stopped || lease.state === 'Running') && batch.apply(lease, cause)) {
    lease.image_order = id;
    return;
  }
  throw new Fault('StateRefused', `The instance '${lease.id}' is not in a state from which an image can be made: running or stopped.`, [`it is ${lease.state}`]);
}

/** @throws Fault StateRefused */
async function requireIdle(tx: Queryable, lease: LockedLease): Promise<void> {
  if (lease.state !== 'Running' || lease.image_order === null) return;
  const [making] = await tx.query(unfinishedOrder, [lease.image_order]);
  if (making !== undefined) throw new Fault('StateRefused', `An image is being made of the instance '${lease.id}' already: wait until it is available or has failed.`, [`it is ${lease.image_order}`]);
}

function checkName(name: string): void {
  if (isName(name) && !looksLikeId(name)) return;
  throw new Fault('ParameterInvalid', `${JSON.stringify(name.slice(0, 100))} cannot be the name of an image: 1 to 64 letters, digits, ".", "_" or "-", not beginning with ami-`, [], { ec2: 'InvalidAMIName.Malformed' });
}

/** @throws Fault ImageExists */
async function checkFree(tx: Queryable, caller: Caller, name: string): Promise<void> {
  const [image] = await tx.query(usableImageByName, [caller.accountId, name]);
  const making = await tx.query(ordersCalled, [caller.accountId, name]);
  if (making.length > 0 || (image !== undefined && image.account_id === caller.accountId)) {
    throw new Fault('ImageExists', `AMI name ${name} is already in use by AMI ${making[0]?.id ?? image?.id ?? ''}`);
  }
}
