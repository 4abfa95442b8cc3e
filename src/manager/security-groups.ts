/**
 * Security groups of users: recorded, so that clients which insist on them find them; nothing enforces them yet, and each
 * says so.
 */
import { Fault } from '../lease/faults.ts';
import { isWritable } from '../lease/text.ts';
import { DEFAULT_GROUP_NAME, defaultGroupId, isDefaultGroup } from '../network/mirror.ts';
import { checkRule, ruleText, sameRule, type RuleAsked, type RuleFacts } from '../network/security-rules.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import { newSecurityGroupId, newSecurityRuleId } from '../platform/ids.ts';
import type { Db, Queryable } from '../store/db.ts';
import {
  countSecurityGroups, countSecurityRules, deleteSecurityGroup, deleteSecurityRules, holdSecurityGroups, insertSecurityGroup, keepingSecurityGroup,
  lockSecurityGroup, securityGroupsNamed, securityGroupsOf, securityRulesOf, securityRulesOfGroup, type SecurityRuleRow,
} from '../store/security-groups.ts';
import { lockBelongings } from '../store/tags.ts';
import { ALL_OUT, defaultGroup, described, ensureDefaultGroup, insertRules } from './default-group.ts';
import { checkTags, writeTags } from './tags.ts';
import type { Caller, Manager, SecurityGroupView, SecurityRuleView } from './types.ts';

/** EC2 user guide, "Amazon VPC quotas". */
const MOST_GROUPS = 500;
const MOST_RULES = 60;
const ONLY_GROUP = 'The only group; the site\'s networks decide what passes';
/** EC2 API reference, CreateSecurityGroup. */
const TEXT = /^[a-zA-Z0-9 ._\-:/()#,@[\]+=&;{}!$*]{1,255}$/;

interface Deps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
}

export function securityGroupCases({ ctx, db, config }: Deps): Manager['securityGroups'] {
  const recorded = config.ec2.security_groups === 'record';

  /** One change of the caller's groups at a time, so that limits and duplicates hold. */
  async function change<T>(caller: Caller, dryRun: boolean | undefined, work: (tx: Queryable, now: Date) => Promise<T>): Promise<T> {
    if (!recorded) throw new Fault('Unsupported', `This site keeps no security groups: every VM is in '${DEFAULT_GROUP_NAME}', and the site's networks decide what passes.`);
    return db.transaction(async (tx) => {
      await tx.query(lockBelongings, [caller.accountId]);
      const done = await work(tx, new Date(ctx.clock.now()));
      // Thrown inside, so that what was tried is rolled back.
      if (dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
      return done;
    });
  }

  async function changeRules(caller: Caller, group: string, asked: readonly RuleAsked[], options: { dryRun?: boolean }, work: (tx: Queryable, groupId: string, facts: RuleFacts[], now: Date) => Promise<SecurityRuleRow[]>): Promise<SecurityRuleView[]> {
    const rows = await change(caller, options.dryRun, async (tx, now) => {
      const { id } = await locked(tx, caller, group, now);
      return work(tx, id, await resolvePeers(tx, caller, asked), now);
    });
    return rows.map(ruleView);
  }

  return {
    async list(caller) {
      if (!recorded) return [{ ...defaultGroup(caller), description: ONLY_GROUP, rules: [] }];
      const [groups, rules] = await Promise.all([db.query(securityGroupsOf, [caller.accountId]), db.query(securityRulesOf, [caller.accountId])]);
      const views = groups.map((g): SecurityGroupView => ({
        id: g.id, name: g.name, description: described(g.description), tags: g.tags ?? {}, rules: rules.filter((r) => r.group_id === g.id).map(ruleView),
      }));
      return views.some((g) => isDefaultGroup(g.id, caller.ownerId)) ? views : [defaultGroup(caller), ...views];
    },

    async create(caller, { name, description }, options = {}) {
      const tags = options.tags ?? {};
      checkTags(tags);
      checkNames(name, description);
      const id = newSecurityGroupId(ctx.random);
      await change(caller, options.dryRun, async (tx, now) => {
        const [count] = await tx.query(countSecurityGroups, [caller.accountId]);
        if ((count?.groups ?? 0) >= MOST_GROUPS) throw new Fault('TooMany', `You have ${MOST_GROUPS} security groups, which is the most`, [], { ec2: 'SecurityGroupLimitExceeded' });
        const written = await tx.query(insertSecurityGroup, [id, caller.accountId, name, description, now]);
        if (written.length === 0) throw new Fault('SecurityGroupExists', `The security group '${name}' already exists`);
        await insertRules(tx, id, true, [ALL_OUT], now, () => newSecurityRuleId(ctx.random));
        await writeTags(tx, [{ id, account_id: caller.accountId }], tags);
      });
      return { id };
    },

    async remove(caller, group, options = {}) {
      return change(caller, options.dryRun, async (tx, now) => {
        const { id } = await locked(tx, caller, group, now);
        if (isDefaultGroup(id, caller.ownerId)) throw new Fault('SecurityGroupDefault', `the specified group: "${id}" name: "${DEFAULT_GROUP_NAME}" cannot be deleted by a user`);
        const keeping = await tx.query(keepingSecurityGroup, [id]);
        if (keeping.length > 0) throw new Fault('SecurityGroupInUse', `resource ${id} has a dependent object`, keeping.map((k) => (k.id.startsWith('i-') ? `instance ${k.id} is in it` : `group ${k.id} names it in a rule`)));
        await tx.query(deleteSecurityGroup, [id]);
        return { id };
      });
    },

    async authorize(caller, { group, egress, rules }, options = {}) {
      const tags = options.tags ?? {};
      checkTags(tags);
      return changeRules(caller, group, rules, options, async (tx, id, facts, now) => {
        const odd = facts.find((f, i) => facts.findIndex((o) => sameRule(f, o)) < i);
        if (odd !== undefined) throw new Fault('ParameterInvalid', `The same permission must not appear multiple times (${ruleText(odd)})`);
        const [count] = await tx.query(countSecurityRules, [id, egress]);
        if ((count?.rules ?? 0) + facts.length > MOST_RULES) {
          throw new Fault('TooMany', `A security group has at most ${MOST_RULES} rules in each direction`, [`${id} has ${count?.rules ?? 0}`, `${facts.length} more asked`], { ec2: 'RulesPerSecurityGroupLimitExceeded' });
        }
        const written = await insertRules(tx, id, egress, facts, now, () => newSecurityRuleId(ctx.random));
        const known = facts.find((f) => !written.some((w) => sameRule(ruleView(w), f)));
        if (known !== undefined) throw new Fault('SecurityRuleExists', `the specified rule "${ruleText(known)}, ALLOW" already exists`);
        await writeTags(tx, written.map((w) => ({ id: w.id, account_id: caller.accountId })), tags);
        return written.map((w) => ({ ...w, tags }));
      });
    },

    async revoke(caller, { group, egress, rules, ruleIds = [] }, options = {}) {
      return changeRules(caller, group, rules, options, async (tx, id, facts) => {
        const there = await tx.query(securityRulesOfGroup, [id, egress]);
        const found = facts.map((f) => {
          const row = there.find((r) => sameRule(ruleView(r), f));
          if (row === undefined) throw new Fault('SecurityRuleNotFound', `The specified rule does not exist in this security group (${ruleText(f)}).`);
          return row.id;
        });
        const unknown = ruleIds.find((r) => !there.some((t) => t.id === r));
        if (unknown !== undefined) throw new Fault('SecurityRuleNotFound', `The security group rule ID '${unknown.slice(0, 40)}' does not exist`, [], { ec2: 'InvalidSecurityGroupRuleId.NotFound' });
        return tx.query(deleteSecurityRules, [id, egress, [...new Set([...found, ...ruleIds])]]);
      });
    },
  };
}

/** The caller's group of this id or name, locked; the default one gets its row here. @throws Fault */
async function locked(tx: Queryable, caller: Caller, group: string, now: Date): Promise<{ id: string }> {
  if (group === DEFAULT_GROUP_NAME || isDefaultGroup(group, caller.ownerId)) await ensureDefaultGroup(tx, caller, now);
  const [row] = isWritable(group) ? await tx.query(lockSecurityGroup, [caller.accountId, group]) : [];
  if (row === undefined) throw groupNotFound(group);
  return row;
}

/** From here to the commit they cannot be removed. The default one may have no row yet, and never is. @throws Fault */
export async function holdGroups(tx: Queryable, groups: ReadonlyArray<{ readonly id: string; readonly name: string }>): Promise<void> {
  const ids = [...new Set(groups.filter((g) => g.name !== DEFAULT_GROUP_NAME).map((g) => g.id))];
  if (ids.length > 0 && (await tx.query(holdSecurityGroups, [ids])).length < ids.length) throw new Fault('SecurityGroupNotFound', 'the security group has just been removed');
}

export const groupNotFound = (group: string): Fault => new Fault('SecurityGroupNotFound', `The security group '${group.slice(0, 100)}' does not exist`);

async function resolvePeers(tx: Queryable, caller: Caller, asked: readonly RuleAsked[]): Promise<RuleFacts[]> {
  const named = [...new Set(asked.flatMap((r) => ('group' in r.peer ? [r.peer.group] : [])))];
  const known = named.length === 0 ? [] : await groupsNamed(tx, caller, named);
  return asked.map((r) => checkRule(r, (group) => known[named.indexOf(group)]?.id ?? group));
}

/** In the order of the names. @throws Fault */
export async function groupsNamed(q: Queryable, caller: Pick<Caller, 'accountId' | 'ownerId'>, named: readonly string[]): Promise<Array<{ id: string; name: string }>> {
  const rows = await q.query(securityGroupsNamed, [caller.accountId, named.filter(isWritable)]);
  const all = [...rows, { id: defaultGroupId(caller.ownerId), name: DEFAULT_GROUP_NAME }];
  return named.map((n) => {
    const found = all.find((g) => g.id === n || g.name === n);
    if (found === undefined) throw groupNotFound(n);
    return found;
  });
}

function checkNames(name: string, description: string): void {
  if (!TEXT.test(name) || name.startsWith('sg-')) throw new Fault('ParameterInvalid', 'Invalid security group name: 1 to 255 of letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, not beginning with sg-');
  if (name === DEFAULT_GROUP_NAME) throw new Fault('ParameterInvalid', `Cannot use reserved security group name: ${name}`);
  if (!TEXT.test(description)) throw new Fault('ParameterInvalid', 'Invalid security group description: 1 to 255 of letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*');
}

function ruleView(r: SecurityRuleRow): SecurityRuleView {
  return { id: r.id, groupId: r.group_id, egress: r.egress, protocol: r.protocol, fromPort: r.from_port, toPort: r.to_port, peer: r.peer, description: r.description, tags: r.tags ?? {} };
}
