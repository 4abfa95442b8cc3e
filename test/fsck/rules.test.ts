/** Each rule: a site that is healthy but for one thing, which is found, said, and mended where there is one right answer. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite } from '../support/site.ts';
import { unanswered } from '../support/unanswered.ts';
import { checkedSite, populate, type Checked } from './site.ts';

let c: Checked;
beforeAll(async () => {
  c = await checkedSite(await openTestSite());
  await populate(c);
});
afterAll(() => c.close());

const RUNNING = "SELECT id FROM lease WHERE state = 'Running' AND nics::text LIKE '%lab%' ORDER BY seq LIMIT 1";
const ENDED = "SELECT id FROM lease WHERE state = 'Terminated' ORDER BY seq LIMIT 1";

it('a healthy site has no findings, whether it is served or not', async () => {
  const report = await c.fsck({ deep: true });
  expect(report).toEqual({ looked: { leases: 7, nodes: 2, asked: 2, slots: 0, images: 1 }, problems: [], mended: [], notes: [] });
  expect(await c.fsck({ serving: false })).toMatchObject({ problems: [], notes: [] });
});

interface Broken {
  /** A lease, node, intent … that `$1` stands for in `broken` and `{}` in `says`. */
  readonly of: string;
  readonly broken: string;
  readonly says: string | RegExp;
}

const FIRST_RUNNING = "SELECT id, account_id, group_id FROM lease WHERE state = 'Running' ORDER BY seq LIMIT 1";
const subscribed = (account: string, lease: string, claimed = 'NULL', more = ['now()', 'pg_current_xact_id()']): string => `INSERT INTO subscription (id, account_id, lease_id, topic, consumer, created_at, next_at, claimed_until, txid)
  VALUES ($1, ${account}, ${lease}, 'currentState', '{"address":"http://192.0.2.1/","properties":[]}', now(), ${more[0]}, ${claimed}, ${more[1]})`;

/** A spot request `$1` of the first running lease's user, and what is done to that lease with it. */
const spot = (more: { launches?: number; price?: number; persistent?: boolean; next?: string; account?: string } = {}): string => `
  INSERT INTO spot_request (id, account_id, persistent, price, created_at, launch, launches, status_code, status_message, status_at, next_at)
  SELECT $1, ${more.account ?? 'account_id'}, ${more.persistent ?? false}, ${more.price ?? 1}, now(), '{}', ${more.launches ?? 1}, '', '', now(), ${more.next ?? 'now()'} FROM (${FIRST_RUNNING}) l`;
const withSpot = (sql: string, more: Parameters<typeof spot>[0] = {}): string => `WITH s AS (${spot(more)}) UPDATE lease SET ${sql} WHERE id = (SELECT id FROM (${FIRST_RUNNING}) f)`;
const FORGET_SPOT = 'WITH l AS (UPDATE lease SET spot_request_id = NULL, spot_price = NULL, preempted_at = NULL WHERE spot_request_id = $1) DELETE FROM spot_request WHERE id = $1';

/** What --repair mends, by rule. */
const MENDED: Readonly<Record<string, Broken>> = {
  'lease-final': { of: RUNNING, broken: 'UPDATE lease SET final = true WHERE id = $1', says: 'lease {} is Running, but counts as ended' },
  'lease-holding': { of: ENDED, broken: 'UPDATE lease SET holding = true WHERE id = $1', says: 'lease {} is Terminated and still holds its room' },
  'lease-not-holding': { of: RUNNING, broken: 'UPDATE lease SET holding = false WHERE id = $1', says: 'lease {} is Running and holds no room' },
  'lease-ended': { of: ENDED, broken: 'UPDATE lease SET ended_at = NULL WHERE id = $1', says: 'lease {} is Terminated, but nothing says since when' },
  'lease-end': { of: RUNNING, broken: 'UPDATE lease SET ends_at = NULL WHERE id = $1', says: 'lease {} is Running and would never end' },
  'lease-idle': {
    of: RUNNING, says: 'lease {} is Ending, but nothing is to be done for it',
    broken: "WITH e AS (INSERT INTO event (lease_id, at, to_state, trigger, who) VALUES ($1, now(), 'Ending', 'end', 'test')) UPDATE lease SET state = 'Ending' WHERE id = $1",
  },
  'address-kept': {
    of: ENDED, says: /^address 192\.0\.2\.19 of network lab is kept by lease {}, which is Terminated and holds nothing$/,
    broken: "UPDATE network_address SET lease_id = $1 WHERE ip = '192.0.2.19'",
  },
  'address-lost': { of: RUNNING, broken: 'UPDATE network_address SET lease_id = NULL WHERE lease_id = $1', says: /^lease {} uses address 192\.0\.2\.1\d of network lab, which counts as free$/ },
  'usage-missing': {
    of: "SELECT id FROM lease WHERE state = 'Corrupted'", says: 'lease {} (Corrupted) has no usage record',
    broken: 'DELETE FROM usage_record WHERE lease_id = $1',
  },
  'usage-kept-open': {
    of: ENDED, broken: 'UPDATE usage_interval SET stop_at = NULL WHERE lease_id = $1', says: 'lease {} is Terminated and holds nothing, but is still charged',
  },
  'usage-not-counted': { of: RUNNING, broken: 'DELETE FROM usage_interval WHERE lease_id = $1', says: 'lease {} is Running, but is not charged' },
  'usage-closed-early': { of: RUNNING, broken: 'UPDATE usage_record SET closed_at = now(), charged_minutes = 1 WHERE lease_id = $1', says: 'lease {} is Running, but its usage record is closed' },
  'usage-unclosed': { of: ENDED, broken: 'UPDATE usage_record SET closed_at = NULL, charged_minutes = NULL WHERE lease_id = $1', says: /its usage record is not closed$/ },
  'usage-charge': { of: ENDED, broken: 'UPDATE usage_record SET charged_minutes = 0 WHERE lease_id = $1', says: 'lease {} is charged 0 minutes; its intervals are 1' },
  'usage-reserved': { of: RUNNING, broken: 'UPDATE usage_record SET reserved_s = 7 WHERE lease_id = $1', says: 'lease {} has 7 s reserved, but lasts 86400 s' },
  'account-charged': {
    of: 'SELECT account_id::text AS id FROM usage_record WHERE charged_minutes > 0 LIMIT 1', says: /^user \w+ counts as charged \d+ minutes in all; the records come to \d+$/,
    broken: 'UPDATE account_use SET charged_minutes = charged_minutes + 5 WHERE account_id = $1::text::bigint',
  },
  'site-charged': {
    of: 'SELECT max(day)::text AS id FROM usage_site_day', says: /^the site counts \d+ minutes as charged on {}; the records of that day come to \d+$/,
    broken: 'UPDATE usage_site_day SET minutes = minutes + 5 WHERE day = $1::text::date AND part = (SELECT min(part) FROM usage_site_day)',
  },
  'intent-final': {
    of: "SELECT i.id FROM intent i JOIN lease l ON l.id = i.lease_id WHERE l.final AND i.kind = 'remove' LIMIT 1", says: /^the remove {} of lease i-\w+ is still to be done, but the lease is Terminated$/,
    broken: "UPDATE intent SET state = 'open', finished_at = NULL, next_at = 'infinity' WHERE id = $1",
  },
  'intent-old': {
    of: "SELECT i.id FROM intent i JOIN lease l ON l.id = i.lease_id WHERE l.state = 'Running' AND l.generation = i.generation LIMIT 1", says: /generation 1, now 2$/,
    broken: "WITH i AS (UPDATE intent SET state = 'open', finished_at = NULL, next_at = 'infinity' WHERE id = $1 RETURNING lease_id) UPDATE lease SET generation = 2 FROM i WHERE id = i.lease_id",
  },
  'intent-node': {
    of: "SELECT i.id FROM intent i JOIN lease l ON l.id = i.lease_id WHERE l.state = 'Running' AND l.generation = i.generation LIMIT 1", says: /^the start {} of lease i-\w+ is for node n\d, but the lease is on n\d$/,
    broken: "UPDATE intent i SET state = 'open', finished_at = NULL, next_at = 'infinity', node_id = (SELECT max(id) FROM vmm_node n WHERE n.id <> i.node_id) WHERE id = $1",
  },
  'intent-ahead': {
    of: RUNNING, says: 'lease {} has generation 0, but work of generation 1 was written for it',
    broken: 'UPDATE lease SET generation = 0 WHERE id = $1',
  },
  'intent-doubled': {
    of: RUNNING, says: 'lease {} has 2 works to be done at once',
    broken: "INSERT INTO intent (id, lease_id, node_id, kind, generation, created_at, next_at) SELECT 'op-' || k, id, node_id, 'reboot', generation, now(), now() FROM lease, unnest(ARRAY['x', 'y']) AS k WHERE id = $1",
  },
  'intent-finished': { of: "SELECT id FROM intent WHERE state = 'done' ORDER BY id LIMIT 1", broken: 'UPDATE intent SET finished_at = NULL WHERE id = $1', says: /^the work {} of lease i-\w+ is done, but nothing says since when$/ },
  'group-empty': {
    of: "SELECT 'r-0123456789abcdef0' AS id", says: 'group {} has no leases, but answers for client token gamma',
    broken: "INSERT INTO lease_group (id, account_id, client_token, request_hash, created_at) SELECT $1, min(id), 'gamma', 'x', now() FROM account",
  },
  'ensemble-empty': { of: "SELECT 'e-empty' AS id", says: 'ensemble {} has no groups', broken: 'INSERT INTO ensemble (id, account_id, created_at) SELECT $1, min(id), now() FROM account' },
  'ensemble-open': {
    of: "SELECT 'e-open' AS id", says: /^ensemble {} counts as gathered, but its lease i-\w+ was placed$/,
    broken: `WITH l AS (${FIRST_RUNNING}), e AS (INSERT INTO ensemble (id, account_id, created_at) SELECT $1, account_id, now() FROM l)
      INSERT INTO grid_group (group_id, key, ensemble_id, facts) SELECT group_id, $1, $1, '{}' FROM l`,
  },
  'subscription-lease': { of: "SELECT 's-lease' AS id", says: 'subscription {} is to lease i-0123456789abcdef0, which does not exist', broken: subscribed("(SELECT min(id) FROM account)", "'i-0123456789abcdef0'") },
  'subscription-account': {
    of: "SELECT 's-account' AS id", says: /^subscription {} tells of lease i-\w+ somebody whose lease it is not$/,
    broken: `WITH l AS (${FIRST_RUNNING}) ${subscribed('(SELECT min(a.id) FROM account a, l WHERE a.id <> l.account_id AND NOT a.admin)', '(SELECT id FROM l)')}`,
  },
  'subscription-claim': {
    of: "SELECT 's-claim' AS id", says: /^subscription {} is claimed until 20.*: nobody else would tell its consumer before$/,
    broken: `WITH l AS (${FIRST_RUNNING}) ${subscribed('(SELECT account_id FROM l)', '(SELECT id FROM l)', "now() + interval '2 days'")}`,
  },
  'spot-launches': { of: "SELECT 'sir-launches' AS id", says: 'spot request {} counts 0 leases, and has 1', broken: withSpot('spot_request_id = $1, spot_price = 1', { launches: 0 }) },
  'spot-price': {
    of: "SELECT 'sir-price' AS id", says: /^lease i-\w+ does not have the price of its spot request: it is displaced out of turn$/,
    broken: withSpot('spot_request_id = $1, spot_price = 9'),
  },
  'spot-displaced': { of: RUNNING, says: 'lease {} is Running, but counts as displaced: preemptible leases wait for its room', broken: 'UPDATE lease SET preempted_at = now() WHERE id = $1' },
  'security-group-lost': {
    of: RUNNING, says: 'lease {} is in the security group sg-0123456789abcdef0, which its user does not have',
    broken: `UPDATE lease SET security_groups = '[{"id":"sg-0123456789abcdef0","name":"gone"}]' WHERE id = $1`,
  },
  'security-peer-lost': {
    of: "SELECT 'sgr-1' AS id", says: 'rule {} of security group sg-1 lets in sg-none, a group which its user does not have',
    broken: `WITH g AS (INSERT INTO security_group (id, account_id, name, description, created_at) SELECT 'sg-1', account_id, 'one', '', now() FROM (${FIRST_RUNNING}) f RETURNING id)
      INSERT INTO security_rule (id, group_id, egress, protocol, from_port, to_port, peer, created_at) SELECT $1, id, false, 'tcp', 22, 22, 'sg-none', now() FROM g`,
  },
  'node-use': { of: 'SELECT id FROM vmm_node ORDER BY memory_used DESC LIMIT 1', broken: 'UPDATE vmm_node SET memory_used = memory_used + 128, cores_used = 0 WHERE id = $1::text::bigint', says: /^node n\d counts \d+ MiB and 0 cores as used; its leases hold \d+ MiB and \d cores$/ },
};

const matching = (says: string | RegExp, of: string): RegExp =>
  (typeof says === 'string' ? new RegExp(`^${says.replaceAll(/[().]/g, '\\$&').replace('{}', of)}$`) : new RegExp(says.source.replace('{}', of)));

describe('what has one right answer is mended', () => {
  it.each(Object.entries(MENDED))('%s', async (rule, { of, broken, says }) => {
    const id = await c.id(of);
    await c.break(broken, id);
    const found = (await c.fsck()).problems.filter((p) => p.rule === rule);
    expect(found).toEqual([{ rule, of: expect.any(String), what: expect.stringMatching(matching(says, id)), mend: expect.any(String), repairs: true }]);
    const report = await c.fsck({ repair: true });
    expect(report).toMatchObject({ problems: [], notes: [] });
    expect(report.mended.map((p) => p.rule)).toContain(rule);
    await c.site.dispatcher.poll();
    await c.site.settled();
    expect(await c.wrong()).toEqual([]);
    await expectInvariants(c.site, rule);
  });
});

/** What has no right answer that the tables know: found, said, left alone. */
const SHOWN: Readonly<Record<string, Broken & { readonly undo: string }>> = {
  'lease-state': { of: RUNNING, broken: "UPDATE lease SET state = 'Flying' WHERE id = $1", undo: "UPDATE lease SET state = 'Running' WHERE id = $1", says: 'lease {} is in the state Flying, which does not exist' },
  'lease-node': {
    of: RUNNING, says: 'lease {} is Running, but on no node', undo: "UPDATE lease SET node_id = (SELECT n.id FROM vmm_node n JOIN usage_interval u ON u.node = n.name AND u.lease_id = $1) WHERE id = $1",
    broken: 'UPDATE lease SET node_id = NULL WHERE id = $1',
  },
  'lease-trail': {
    of: RUNNING, says: 'lease {} is Running, but its trail ends with Paused', undo: "DELETE FROM event WHERE lease_id = $1 AND who = 'test'",
    broken: "INSERT INTO event (lease_id, at, to_state, trigger, who) VALUES ($1, now(), 'Paused', 'paused', 'test')",
  },
  'lease-overdue': {
    of: RUNNING, says: /^lease {} is Running, but its time was over at /, broken: "UPDATE lease SET ends_at = now() - interval '1 hour' WHERE id = $1",
    undo: "UPDATE lease SET ends_at = created_at + interval '1 day' WHERE id = $1",
  },
  'usage-overlap': {
    of: ENDED, says: /^lease {} is charged twice for the same time, from 20/,
    broken: "INSERT INTO usage_interval (lease_id, node, start_at, stop_at, memory_mb, cores) SELECT lease_id, node, start_at, stop_at + interval '1 ms', memory_mb, cores FROM usage_interval WHERE lease_id = $1",
    undo: 'DELETE FROM usage_interval WHERE id = (SELECT max(id) FROM usage_interval WHERE lease_id = $1)',
  },
  'ensemble-account': {
    of: "SELECT 'e-account' AS id", says: /^ensemble {} has group r-\w+ of another user$/, undo: 'WITH g AS (DELETE FROM grid_group WHERE ensemble_id = $1) DELETE FROM ensemble WHERE id = $1',
    broken: `WITH l AS (SELECT account_id, group_id FROM lease l WHERE state = 'Terminated' AND NOT EXISTS (SELECT 1 FROM grid_group g WHERE g.group_id = l.group_id) ORDER BY seq LIMIT 1),
      e AS (INSERT INTO ensemble (id, account_id, created_at, done_at) SELECT $1, min(a.id), now(), now() FROM account a, l WHERE a.id <> l.account_id)
      INSERT INTO grid_group (group_id, key, ensemble_id, facts) SELECT group_id, $1, $1, '{}' FROM l`,
  },
  'subscription-untold': {
    of: "SELECT 's-untold' AS id", says: /^something has happened to lease i-\w+, and the consumer of subscription {} was not told$/, undo: 'DELETE FROM subscription WHERE id = $1',
    broken: `WITH l AS (${FIRST_RUNNING}) ${subscribed('(SELECT account_id FROM l)', '(SELECT id FROM l)', 'NULL', ["now() - interval '1 hour'", "'0'"])}`,
  },
  'spot-doubled': {
    of: "SELECT 'sir-doubled' AS id", says: /^spot request {} has several leases at once: i-\w+, i-\w+$/, undo: FORGET_SPOT,
    broken: `WITH s AS (${spot({ launches: 2 })}) UPDATE lease SET spot_request_id = $1, spot_price = 1 WHERE id IN (SELECT id FROM lease WHERE state = 'Running' AND spot_request_id IS NULL AND account_id = (SELECT account_id FROM (${FIRST_RUNNING}) f) ORDER BY seq LIMIT 2)`,
  },
  'spot-lost': {
    of: "SELECT id FROM lease WHERE state = 'Running' AND spot_request_id IS NULL ORDER BY seq LIMIT 1", says: 'lease {} is preemptible, but its spot request sir-none does not exist',
    broken: "UPDATE lease SET spot_request_id = 'sir-none', spot_price = 1 WHERE id = $1", undo: 'UPDATE lease SET spot_request_id = NULL, spot_price = NULL WHERE id = $1',
  },
  'spot-account': {
    of: "SELECT 'sir-account' AS id", says: /^spot request {} has lease i-\w+ of another user$/, undo: FORGET_SPOT,
    broken: `WITH s AS (${spot({ account: '(SELECT min(a.id) FROM account a WHERE a.id <> l.account_id)' })}) UPDATE lease SET spot_request_id = $1, spot_price = 1
      WHERE id = (SELECT id FROM lease WHERE state = 'Running' AND spot_request_id IS NULL AND account_id = (SELECT account_id FROM (${FIRST_RUNNING}) f) ORDER BY seq LIMIT 1)`,
  },
  'spot-untried': {
    of: "SELECT 'sir-untried' AS id", says: /^spot request {} should have been tried at 20.*, and was not$/, undo: FORGET_SPOT,
    broken: spot({ launches: 0, next: "now() - interval '2 hours'" }),
  },
  'security-default': {
    of: "SELECT 'sg-2' AS id", says: /^security group {} \(default\) of \w+ is taken for the default one/, undo: 'DELETE FROM security_group WHERE id = $1',
    broken: `INSERT INTO security_group (id, account_id, name, description, created_at) SELECT $1, account_id, 'default', '', now() FROM (${FIRST_RUNNING}) f`,
  },
  'group-torn': {
    of: 'SELECT group_id AS id FROM lease ORDER BY seq LIMIT 1', says: /^group {} has 3 leases with numbers up to 8: it is not all or none$/,
    broken: 'UPDATE lease SET launch_index = 7 WHERE group_id = $1 AND launch_index = 2', undo: 'UPDATE lease SET launch_index = 2 WHERE group_id = $1 AND launch_index = 7',
  },
  'group-account': {
    of: 'SELECT group_id AS id FROM lease ORDER BY seq LIMIT 1', says: /^group {} has lease i-\w+ of another user$/,
    broken: 'UPDATE lease_group SET account_id = (SELECT max(id) FROM account) WHERE id = $1', undo: 'UPDATE lease_group SET account_id = (SELECT min(account_id) FROM lease WHERE group_id = $1) WHERE id = $1',
  },
  'token-request': {
    of: "SELECT id FROM lease_group WHERE client_token = 'alpha'", says: /^group {} does not say which request client token alpha stands for/,
    broken: "UPDATE lease_group SET request_hash = '' WHERE id = $1", undo: "UPDATE lease_group SET request_hash = 'x' WHERE id = $1",
  },
};

describe('what has no one right answer is shown and left alone', () => {
  it.each(Object.entries(SHOWN))('%s', async (rule, { of, broken, says, undo }) => {
    const id = await c.id(of);
    await c.break(broken, id);
    const report = await c.fsck({ repair: true });
    expect(report.problems.filter((p) => p.rule === rule)).toEqual([{ rule, of: id, what: expect.stringMatching(matching(says, id)), mend: expect.stringMatching(/\w/), repairs: false }]);
    await c.break(undo, id);
    await c.fsck({ repair: true });
    expect(await c.wrong()).toEqual([]);
  });

  it('an oversubscribed node', async () => {
    const id = await c.id('SELECT node_id AS id FROM lease WHERE holding AND node_id IS NOT NULL LIMIT 1');
    await c.break('UPDATE vmm_node SET memory_mb = 1, memory_used = 1 WHERE id = $1::text::bigint', id);
    const { problems } = await c.fsck({ repair: true });
    expect(problems).toEqual([{ rule: 'node-use', of: id, what: expect.stringMatching(/, more than the 1 MiB and \d+ cores that it has$/), mend: 'end leases on it', repairs: false }]);
    await c.break('UPDATE vmm_node SET memory_mb = 4096 WHERE id = $1::text::bigint', id);
    await c.fsck({ repair: true });
    expect(await c.wrong()).toEqual([]);
  });

  it('two leases with one address', async () => {
    const id = await c.id(RUNNING);
    await c.break("UPDATE lease SET nics = (SELECT o.nics FROM lease o WHERE o.id <> $1 AND o.nics::text LIKE '%lab%' AND o.holding LIMIT 1) WHERE id = $1", id);
    const found = await c.wrong({ repair: true });
    expect(found).toEqual([expect.stringMatching(new RegExp(`^address-lost: lease ${id} uses address 192\\.0\\.2\\.\\d+ of network lab, which is given to lease i-\\w+$`))]);
    await c.break("UPDATE lease SET nics = jsonb_set(nics, '{0,ip}', '\"192.0.2.18\"') WHERE id = $1", id);
    await c.fsck({ repair: true });
    expect(await c.wrong()).toEqual([]);
  });
});

describe('VMs', () => {
  afterEach(async () => {
    await c.site.settled();
    expect(await c.wrong()).toEqual([]);
  });
  const place = async (id: string): Promise<number> => Number(await c.id(`SELECT node_id AS id FROM lease WHERE id = '${id}'`));

  it('one that no live lease knows is removed', async () => {
    const [node] = [Number(await c.id('SELECT min(id) AS id FROM vmm_node'))];
    c.site.control.perform(node, { op: 'start', id: 'op-1', lease: 'i-0123456789abcdef0', generation: 9, deadlineMs: 1, vm: { memoryMb: 1, cores: 1 } as never });
    expect(await c.wrong()).toEqual(['vm-unknown: node n1 has the VM i-0123456789abcdef0 (running), which no live lease knows']);
    expect(await c.fsck({ repair: true })).toMatchObject({ problems: [], mended: [{ rule: 'vm-unknown' }] });
    expect(c.site.control.node(node).vms.get('i-0123456789abcdef0')?.state).toBe('removed');
  });

  it('a lease whose VM is gone ends', async () => {
    const id = await c.id(RUNNING);
    c.site.control.node(await place(id)).vms.delete(id);
    expect(await c.wrong()).toEqual([expect.stringMatching(new RegExp(`^vm-gone: lease ${id} is Running, but node n\\d has no VM of it that lives$`))]);
    expect(await c.fsck({ repair: true })).toMatchObject({ problems: [], mended: [{ rule: 'vm-gone' }] });
    await c.site.settled();
    expect((await c.site.manager.leases.describe(c.site.admin, { ids: [id] }))[0]?.state).toBe('Terminated');
  });

  it('a generation that the node has seen is taken', async () => {
    const id = await c.id(RUNNING);
    const { vms } = c.site.control.node(await place(id));
    const vm = vms.get(id);
    if (vm === undefined) throw new Error('it runs');
    vms.set(id, { ...vm, generation: 40 });
    expect(await c.wrong()).toEqual([expect.stringMatching(/has seen generation 40 of lease i-\w+; the table has \d+$/)]);
    expect(await c.fsck({ repair: true })).toMatchObject({ problems: [] });
    await c.site.manager.leases.reboot(c.site.alice, [id]);
    await c.site.settled();
    expect((await c.site.manager.leases.describe(c.site.admin, { ids: [id] }))[0]).toMatchObject({ state: 'Running', generation: 41 });
  });

  it('a generation that no service gives is not taken: nothing could be asked of the lease above it', async () => {
    const id = await c.id(RUNNING);
    const { vms } = c.site.control.node(await place(id));
    const vm = vms.get(id);
    if (vm === undefined) throw new Error('it runs');
    vms.set(id, { ...vm, generation: 2 ** 31 - 1 });
    const { problems } = await c.fsck({ repair: true });
    await c.site.manager.leases.reboot(c.site.alice, [id]);
    expect(problems).toMatchObject([{ rule: 'vm-generation', repairs: false, mend: expect.stringContaining('nimbus lease destroy --forget') as string }]);
    await c.site.settled();
    // Work that is under way does not hide it: it is not repeated above this.
    c.site.control.answer = (_, r) => (r.op === 'reboot' ? 'silent' : undefined);
    await c.site.manager.leases.reboot(c.site.alice, [id]);
    await unanswered(c.site);
    expect(await c.wrong()).toEqual([expect.stringContaining('which no service gives')]);
    c.site.control.answer = () => undefined;
    vms.set(id, { ...vm, generation: vm.generation });
    await c.break("UPDATE intent SET next_at = now() - interval '1 s', error = NULL WHERE state = 'open'");
    await c.site.dispatcher.poll();
    await c.site.settled();
    await c.fsck({ repair: true });
    expect(await c.wrong()).toEqual([]);
  });

  it('one on another node than its lease is shown', async () => {
    const id = await c.id(RUNNING);
    const other = Number(await c.id(`SELECT id FROM vmm_node WHERE id <> ${await place(id)}`));
    c.site.control.perform(other, { op: 'start', id: 'op-2', lease: id, generation: 1, deadlineMs: 1, vm: { memoryMb: 1, cores: 1 } as never });
    expect(await c.wrong({ repair: true })).toEqual([expect.stringMatching(/^vm-elsewhere: node n\d has a VM of lease i-\w+, which is on another node$/)]);
    c.site.control.node(other).vms.delete(id);
  });

  it('a lease whose VM runs on another node than the table says is not ended for that', async () => {
    const id = await c.id(RUNNING);
    const right = await place(id);
    const other = Number(await c.id(`SELECT id FROM vmm_node WHERE id <> ${right}`));
    await c.break('UPDATE lease SET node_id = $2::text::bigint WHERE id = $1', id, String(other));
    const { problems } = await c.fsck({ repair: true });
    expect(problems.map((p) => [p.rule, p.repairs]).sort()).toEqual([['vm-elsewhere', false], ['vm-gone', false]]);
    await c.break('UPDATE lease SET node_id = $2::text::bigint WHERE id = $1', id, String(right));
    await c.fsck({ repair: true });
  });

  it('a node that does not answer is a note, no finding', async () => {
    const node = Number(await c.id('SELECT min(id) AS id FROM vmm_node'));
    c.site.control.setUp(node, false);
    expect(await c.fsck()).toMatchObject({ problems: [], looked: { asked: 1 }, notes: ['the VMs of node n1 were not looked at: down'] });
    c.site.control.setUp(node, true);
  });
});

it('what cannot be mended is said with the reason, and keeps nothing else from being mended', async () => {
  const [one, other] = [await c.id(RUNNING), await c.id(ENDED)];
  await c.break('UPDATE lease SET ends_at = NULL, duration_s = 2147483647, created_at = \'294276-01-01\' WHERE id = $1', one);
  await c.break('UPDATE lease SET holding = true WHERE id = $1', other);
  const report = await c.fsck({ repair: true });
  expect(report.mended.map((p) => p.rule)).toContain('lease-holding');
  expect(report.notes).toEqual([expect.stringMatching(new RegExp(`^lease ${one} is Running and would never end: it could not be mended: .*out of range`))]);
  await c.break("UPDATE lease SET ends_at = now() + interval '1 day', duration_s = 86400, created_at = now() WHERE id = $1", one);
  await c.fsck({ repair: true });
  expect(await c.wrong()).toEqual([]);
});

// The last one: the invariants of the tests before it know nothing of old days.
it('sums of days that are too old to be kept are not missed', async () => {
  await c.break(`WITH old AS (UPDATE usage_record SET closed_at = closed_at - interval '500 days' WHERE lease_id = $1 RETURNING account_id)
    UPDATE account_use u SET charged_minutes = charged_minutes FROM old WHERE u.account_id = old.account_id`, await c.id(ENDED));
  expect((await c.fsck({ repair: true })).problems).toEqual([]);
  await c.break("DELETE FROM usage_site_day WHERE day < now() - interval '400 days' AND $1 <> ''", 'x');
  await c.break("WITH kept AS (SELECT account_id, min(day) AS day FROM usage_day WHERE day > now() - interval '400 days' GROUP BY 1) DELETE FROM usage_day d USING kept k WHERE d.account_id = k.account_id AND d.day < k.day AND $1 <> ''", 'x');
  expect((await c.fsck()).problems).toEqual([]);
});
