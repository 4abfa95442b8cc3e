/**
 * `nimbus fsck`: holds the tables against their rules, the agents' own lists and the image files. The tables are read in one
 * snapshot; what two looks in a row have found is a problem, as what is in flight has gone on between them. Adding a rule is
 * a line in a file of `rules/`.
 */
import { repositoryMark } from '../images/shared.ts';
import { sleep } from '../platform/deadline.ts';
import { inHalves } from '../platform/halves.ts';
import { isUnavailable, statement } from '../store/db.ts';
import { knownImages, lookAtFiles, removeDraft } from './files.ts';
import { chargedRules } from './rules/charged.ts';
import { securityRules, spotRules, untriedRule } from './rules/ec2.ts';
import { exitRules, overdueRule } from './rules/exits.ts';
import { gridRules, untoldRule } from './rules/grid.ts';
import { groupRules } from './rules/groups.ts';
import { intentRules } from './rules/intents.ts';
import { leaseRules } from './rules/leases.ts';
import { addressRules, nodeRules } from './rules/room.ts';
import { slotMessageRule, slotRules } from './rules/slots.ts';
import { usageRules } from './rules/usage.ts';
import type { FsckOptions, FsckReport, FsckSite, Looked, Problem, Rule } from './types.ts';
import { knownVms, lookAtVms, mendVms, type VmProblem } from './vms.ts';

/** Longer than a report of an agent waits to be written. */
const BETWEEN_LOOKS_MS = 2_000;
/** Mending one thing may uncover another: a lease that has ended gives its room back. */
const MOST_PASSES = 8;

/** In the order in which they are mended: what a lease is, then what it holds, then what is counted of it. */
const ALWAYS: readonly Rule[] = [
  ...slotRules, ...leaseRules, ...exitRules, ...addressRules, ...usageRules, ...intentRules, ...groupRules, ...gridRules, ...spotRules, ...securityRules, ...nodeRules,
];
/** What a service that runs has done by now. */
const SERVING: readonly Rule[] = [overdueRule, slotMessageRule, untoldRule, untriedRule];

const COUNTS = statement<{ leases: number; nodes: number; slots: number }>('fsck-counts', `
  SELECT (SELECT count(*)::int FROM lease) AS leases, (SELECT count(*)::int FROM vmm_node WHERE ended_at IS NULL) AS nodes,
         (SELECT count(*)::int FROM slot) AS slots`);

/** Records that were removed are still counted. */
const rulesOf = ({ config }: FsckSite): readonly Rule[] => (config.retention.usage === 0 ? [...ALWAYS, ...chargedRules] : ALWAYS);

interface Look {
  readonly looked: Looked;
  readonly problems: readonly Problem[];
  readonly notes: readonly string[];
}

const keyOf = (p: Problem): string => `${p.rule} ${p.of}`;

export async function fsck(site: FsckSite, options: FsckOptions): Promise<FsckReport> {
  const tried = new Map<string, Problem>();
  const failed = new Map<string, string>();
  let found = await lookTwice(site, options);
  for (let pass = 0; options.repair && pass < MOST_PASSES; pass += 1) {
    const todo = found.problems.filter((p) => p.repairs && !failed.has(keyOf(p)));
    if (todo.length === 0) break;
    for (const p of todo) tried.set(keyOf(p), p);
    for (const [p, why] of await mend(site, todo)) failed.set(keyOf(p), `${p.what}: it could not be mended: ${why}`);
    found = await lookTwice(site, options);
  }
  if (tried.size > 0) await site.nodesChanged();
  const left = new Set(found.problems.map(keyOf));
  const mended = [...tried].filter(([key]) => !left.has(key) && !failed.has(key)).map(([, p]) => p);
  for (const p of mended) site.ctx.log.warn('fsck mended', { rule: p.rule, of: p.of, what: p.what, mend: p.mend });
  return { looked: found.looked, problems: found.problems, mended, notes: [...found.notes, ...[...failed].filter(([key]) => left.has(key)).map(([, why]) => why)] };
}

async function lookTwice(site: FsckSite, options: FsckOptions): Promise<Look> {
  const first = await look(site, options);
  if (first.problems.length === 0) return first;
  await sleep(site.ctx.clock, BETWEEN_LOOKS_MS);
  const before = new Set(first.problems.map(keyOf));
  const second = await look(site, options, new Set(first.problems.map((p) => p.of)));
  return { ...second, problems: second.problems.filter((p) => before.has(keyOf(p))) };
}

async function look(site: FsckSite, { deep }: FsckOptions, suspects?: ReadonlySet<string>): Promise<Look> {
  const now = site.ctx.clock.now();
  const rules = [...rulesOf(site), ...(site.serving ? SERVING : [])];
  const { problems, known, images, mark, counts } = await site.db.transaction(async (tx) => {
    const broken: Problem[] = [];
    for (const rule of rules) broken.push(...await rule.look({ tx, site, now }));
    const [row] = await tx.query(COUNTS);
    return { problems: broken, known: await knownVms(tx), images: await knownImages(tx), mark: await repositoryMark(tx), counts: row ?? { leases: 0, nodes: 0, slots: 0 } };
  }, 'snapshot');
  const vms = await lookAtVms(site, known);
  const files = await lookAtFiles({ directory: site.imageDirectory, images, mark, now }, deep, suspects);
  return {
    problems: [...problems, ...vms.problems, ...files], notes: vms.notes,
    looked: { ...counts, asked: vms.asked, images: images.filter((i) => !i.removed).length },
  };
}

/** What could not be mended, and why. */
async function mend(site: FsckSite, todo: readonly Problem[]): Promise<Array<[Problem, string]>> {
  const failures: Array<[Problem, string]> = [];
  const note = (problems: readonly Problem[], outcomes: ReadonlyArray<Error | undefined | void>): void => {
    problems.forEach((p, i) => {
      const e = outcomes[i];
      if (e instanceof Error) failures.push([p, e.message]);
    });
  };
  for (const { name, repair } of rulesOf(site)) {
    const mine = todo.filter((p) => p.rule === name);
    if (repair === undefined || mine.length === 0) continue;
    note(mine, await inHalves<Problem, undefined>(mine, async (some) => {
      await repair(site, some.map((p) => p.of));
      return some.map(() => undefined);
    }, isUnavailable));
  }
  const vms = todo.filter((p): p is VmProblem => 'nodeId' in p);
  note(vms, await mendVms(site, vms));
  for (const p of todo.filter((f) => f.rule === 'image-draft')) await removeDraft(site.imageDirectory, p.of, site.ctx.clock.now());
  return failures;
}
