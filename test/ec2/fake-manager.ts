/** A manager in memory that keeps the promises of `Manager`, with a record of every call that would change something. */
import { Fault } from '../../src/lease/faults.ts';
import type { CreateRequest, Nic, Reach } from '../../src/lease/types.ts';
import type { LeaseState } from '../../src/lease/states.ts';
import { defaultGroupId } from '../../src/network/mirror.ts';
import type { Caller, ImageView, KeyPairView, LeaseView, Manager, NewEnd, TagView } from '../../src/manager/types.ts';

export interface FakeAccount { readonly secret: string; readonly accountId: number; readonly name: string; readonly ownerId: string; readonly admin: boolean }
export interface FakeManager extends Manager {
  readonly mutations: Array<{ what: string; caller: Caller; args: unknown }>;
  readonly leasesById: Map<string, LeaseView>;
  readonly accounts: Map<string, FakeAccount>;
  /** Whose certificates are, by their fingerprints. */
  readonly certificates: Map<string, FakeAccount>;
  setLease(id: string, change: Partial<LeaseView>): void;
  /** When set, every lease call rejects with it. */
  broken: Error | undefined;
}

export const COMMON_IMAGE: ImageView = {
  id: 'ami-00000000000000001', name: 'guest', owner: null, ownerId: null, format: 'raw', sizeBytes: 512, sha256: '0'.repeat(64),
  description: 'The built-in guest', createdAt: Date.UTC(2026, 0, 1),
};
export const OWN_IMAGE: ImageView = { ...COMMON_IMAGE, id: 'ami-00000001', name: 'mine', owner: 'alice', ownerId: '111111111111', description: 'Alice & Bob <img>' };
const OTHER_IMAGE: ImageView = { ...OWN_IMAGE, id: 'ami-00000002', name: 'theirs', owner: 'bob', ownerId: '222222222222' };

export const bridged: Nic = {
  network: 'public', kind: 'bridge', bridge: 'br0', mac: 'a2:aa:bb:00:00:01', ip: '10.20.0.2', prefix: 24, gateway: null, dns: [], hostname: 'vm1',
};
export const onBridge: Reach = { host: '10.20.0.2', sshPort: 22, forwarded: false };
export const behindPort: Reach = { host: '192.0.2.7', sshPort: 42001, forwarded: true };

export function lease(n: number, owner: FakeAccount, change: Partial<LeaseView> = {}): LeaseView {
  return {
    id: `i-${n.toString(16).padStart(17, '0')}`, groupId: `r-${n.toString(16).padStart(17, '0')}`, accountId: owner.accountId, accountName: owner.name,
    ownerId: owner.ownerId, launchIndex: 0, state: 'Running', generation: 1, imageId: COMMON_IMAGE.id, imageName: 'guest', type: 'm1.small',
    memoryMb: 128, cores: 1, diskMb: 0, zone: 'default', node: 'n1', keyName: null, clientToken: null, nics: [], securityGroups: [{ id: defaultGroupId(owner.ownerId), name: 'default' }], reach: null,
    createdAt: Date.UTC(2026, 10, 22, 14, 0, 0, 789), endsAt: Date.UTC(2026, 10, 23, 14), endedAt: null, runningAt: Date.UTC(2026, 10, 22, 14),
    reasonCode: null, reason: null, tags: {}, phases: {}, slot: null, waiting: null, graceEndsAt: null, spotRequestId: null, ...change,
  };
}

const noSpot = (): Promise<never> => Promise.reject(new Fault('Unsupported', 'This site borrows its nodes'));
const noGroups = (): Promise<never> => Promise.reject(new Fault('Unsupported', 'This site keeps no security groups'));

export function fakeManager(now: () => number = () => Date.UTC(2026, 10, 22, 14, 45)): FakeManager {
  const accounts = new Map<string, FakeAccount>();
  const certificates = new Map<string, FakeAccount>();
  const leases = new Map<string, LeaseView>();
  const keys = new Map<string, KeyPairView & { accountId: number }>();
  const tags = new Map<string, TagView & { accountId: number }>();
  const tokens = new Map<string, { request: string; ids: string[] }>();
  const mutations: FakeManager['mutations'] = [];
  const change = (what: string, caller: Caller, args: unknown, dryRun: boolean | undefined): void => {
    if (dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
    mutations.push({ what, caller, args });
  };
  const mine = (caller: Caller): LeaseView[] => [...leases.values()].filter((l) => caller.admin || l.accountId === caller.accountId);
  const named = (caller: Caller, ids: readonly string[]): LeaseView[] => ids.map((id) => {
    const found = mine(caller).find((l) => l.id === id);
    if (found === undefined) throw new Fault('LeaseNotFound', `The instance ID '${id}' does not exist`);
    return found;
  });
  const moveEnds = (caller: Caller, ids: readonly string[], end: NewEnd): LeaseView[] => named(caller, ids).map((l) => {
    const moved = { ...l, endsAt: 'endsAt' in end ? end.endsAt : now() + end.durationS * 1000 };
    leases.set(l.id, moved);
    return moved;
  });
  const move = (l: LeaseView, state: LeaseState) => {
    leases.set(l.id, { ...l, state });
    return { id: l.id, before: l.state, after: state, ran: l.runningAt !== null };
  };
  const broken = (): void => {
    if (manager.broken !== undefined) throw manager.broken;
  };

  const manager: FakeManager = {
    mutations, accounts, certificates, leasesById: leases, broken: undefined,
    setLease(id, to) { leases.set(id, { ...leases.get(id) as LeaseView, ...to }); },
    leases: {
      async create(caller, r, o) {
        broken();
        const group = create(caller, r, o?.dryRun);
        return group;
      },
      async createEnsemble() { throw new Fault('Unsupported', 'EC2 clients have no ensembles'); },
      async describe(caller, q) {
        broken();
        const all = q.ids === undefined ? mine(caller) : named(caller, q.missing === 'skip' ? q.ids.filter((id) => mine(caller).some((l) => l.id === id)) : q.ids);
        const from = q.after === undefined ? 0 : all.findIndex((l) => l.id === q.after) + 1;
        return all.slice(from, from + (q.limit ?? all.length));
      },
      async diskBytes(_caller, those) { return those.map((l) => Math.max(COMMON_IMAGE.sizeBytes, l.diskMb * 2 ** 20)); },
      async end(caller, ids, why, o) {
        const found = named(caller, ids);
        change('end', caller, { ids, why }, o?.dryRun);
        return found.map((l) => (l.state === 'Terminated' ? { id: l.id, before: l.state, after: l.state, ran: true } : move(l, 'Ending')));
      },
      async reboot(caller, ids, o) {
        const found = named(caller, ids);
        change('reboot', caller, { ids }, o?.dryRun);
        return found.map((l) => move(l, 'Rebooting'));
      },
      async start(caller, ids, o) {
        const found = named(caller, ids);
        change('start', caller, { ids }, o?.dryRun);
        return found.map((l) => move(l, 'Starting'));
      },
      async stop(caller, ids, o) {
        const found = named(caller, ids);
        change('stop', caller, { ids, hard: o?.hard ?? false }, o?.dryRun);
        return found.map((l) => move(l, 'ShuttingDown'));
      },
      async attributes(caller, id) {
        const [l] = named(caller, [id]) as [LeaseView];
        return { id, type: l.type, userData: null, endProtected: false, stopProtected: false, rests: false };
      },
      async setAttributes(caller, id, to, o) {
        named(caller, [id]);
        change('setAttributes', caller, { id, change: to }, o?.dryRun);
      },
      async setEnd(caller, ids, end: NewEnd, o) {
        named(caller, ids);
        change('setEnd', caller, { ids, end }, o?.dryRun);
        return moveEnds(caller, ids, end);
      },
      async console(caller, id) {
        named(caller, [id]);
        return { bytes: Buffer.from(`banner of ${id}\r\n`), at: now() };
      },
      async events() { return []; },
    },
    images: {
      async list(caller, q = {}) {
        const usable = [COMMON_IMAGE, OWN_IMAGE, OTHER_IMAGE].map((i) => ({ ...i, state: 'available' as const, reason: null, public: false, grantedTo: [], tags: {} })).filter((i) => i.owner === null || i.ownerId === caller.ownerId);
        const missing = q.ids?.find((id) => !usable.some((i) => i.id === id || i.name === id));
        if (missing !== undefined) throw new Fault('ImageNotFound', `The image id '[${missing}]' does not exist`);
        return usable.filter((i) => q.ids === undefined || q.ids.includes(i.id) || q.ids.includes(i.name));
      },
      async make(caller, id, image, o) {
        named(caller, [id]);
        change('images.make', caller, { id, image }, o?.dryRun);
        return 'ami-00000000000000009';
      },
      async remove(caller, id, o) { change('images.remove', caller, id, o?.dryRun); },
      async grants() { return { all: false, accounts: [] }; },
      async change(caller, id, to, o) { change('images.change', caller, { id, to }, o?.dryRun); },
    },
    keys: {
      async create(caller, name, type, o) {
        const view = addKey(caller, name, type, o);
        return { ...view, material: '-----BEGIN RSA PRIVATE KEY-----\nQUJD\n-----END RSA PRIVATE KEY-----' };
      },
      async import(caller, name, publicKey, o) {
        return addKey(caller, name, 'rsa', o, publicKey.toString());
      },
      async list(caller, q = {}) {
        const own = [...keys.values()].filter((k) => k.accountId === caller.accountId);
        const missing = q.names?.find((n) => !own.some((k) => k.name === n)) ?? q.ids?.find((i) => !own.some((k) => k.id === i));
        if (missing !== undefined) throw new Fault('KeyPairNotFound', `The key pair '${missing}' does not exist`);
        return own.filter((k) => (q.names?.includes(k.name) ?? true) && (q.ids?.includes(k.id) ?? true));
      },
      async remove(caller, which, o) {
        change('keys.remove', caller, which, o?.dryRun);
        const found = [...keys.values()].find((k) => k.accountId === caller.accountId && ('name' in which ? k.name === which.name : k.id === which.id));
        if (found !== undefined) keys.delete(found.id);
        return found ?? null;
      },
    },
    tags: {
      async set(caller, ids, set, o) {
        change('tags.set', caller, { ids, set, ...(o?.end === undefined ? {} : { end: o.end }) }, o?.dryRun);
        if (o?.end !== undefined) moveEnds(caller, ids, o.end);
        for (const id of ids) for (const [key, value] of Object.entries(set)) addTag(caller, id, key, value);
      },
      async remove(caller, ids, remove, o) {
        change('tags.remove', caller, { ids, remove }, o?.dryRun);
        for (const [at, t] of tags) {
          if (ids.includes(t.resourceId) && (remove.length === 0 || remove.some((r) => r.key === t.key && (r.value === undefined || r.value === t.value)))) tags.delete(at);
        }
      },
      async list(caller, q = {}) {
        return [...tags.values()].filter((t) => t.accountId === caller.accountId && (q.resourceIds?.includes(t.resourceId) ?? true))
          .map(({ accountId: _account, ...t }) => t);
      },
    },
    // As on a site that keeps none but the default one.
    securityGroups: {
      async list(caller) { return [{ id: defaultGroupId(caller.ownerId), name: 'default', description: 'The only group', rules: [], tags: {} }]; },
      create: noGroups, remove: noGroups, authorize: noGroups, revoke: noGroups,
    },
    spot: { request: noSpot, async list() { return []; }, cancel: noSpot, async prices() { return []; } },
    site: {
      async subnets() { return []; },
      async zones() { return [{ name: 'default', available: true }, { name: 'east', available: false }]; },
      types: () => [
        { name: 'm1.small', memoryMb: 128, cores: 1, diskMb: 0, networks: [] },
        { name: 'm1.large', memoryMb: 512, cores: 2, diskMb: 2048, networks: ['public', 'private'] },
      ],
      defaultType: () => 'm1.small',
      region: () => 'nimbus',
      async limits() { return { maxInstances: 10_000 }; },
    },
    signatures: { use: () => Promise.resolve(true) },
    credentials: { async find(accessKey) { return accounts.get(accessKey) ?? null; }, async ofDn() { return null; }, async ofCertificate(fingerprint) { return certificates.get(fingerprint) ?? null; }, async ofUser(name) { return [...accounts.values()].find((a) => a.name === name) ?? null; } },
  };

  function create(caller: Caller, r: CreateRequest, dryRun: boolean | undefined) {
    const { clientToken: token, ...rest } = r;
    const before = token === undefined ? undefined : tokens.get(token);
    const request = JSON.stringify(rest);
    if (before !== undefined) {
      if (before.request !== request) throw new Fault('TokenMismatch', 'The client token was used before with another request.');
      return { id: '', leases: before.ids.map((id) => leases.get(id) as LeaseView), repeated: true };
    }
    const group = r.securityGroups?.find((g) => g !== 'default' && g !== defaultGroupId(caller.ownerId));
    if (group !== undefined) throw new Fault('ResourceNotFound', `The security group '${group}' does not exist`, [], { ec2: 'InvalidGroup.NotFound' });
    change('create', caller, r, dryRun);
    const account = [...accounts.values()].find((a) => a.accountId === caller.accountId) as FakeAccount;
    const first = leases.size + 1;
    const made = Array.from({ length: r.maxCount }, (_, i) => lease(first + i, account, {
      groupId: `r-${first.toString(16).padStart(17, '0')}`, launchIndex: i, state: 'Unpropagated', keyName: r.keyName ?? null, type: r.type ?? 'm1.small',
      clientToken: token ?? null, tags: r.tags ?? {}, createdAt: now(), endsAt: now() + (r.durationS ?? 86_400) * 1000, runningAt: null, zone: r.zone ?? 'default',
    }));
    for (const l of made) leases.set(l.id, l);
    if (token !== undefined) tokens.set(token, { request, ids: made.map((l) => l.id) });
    return { id: (made[0] as LeaseView).groupId, leases: made, repeated: false };
  }

  function addKey(caller: Caller, name: string, type: 'rsa' | 'ed25519', o: { dryRun?: boolean; tags?: Readonly<Record<string, string>> } | undefined, publicKey = `ssh-${type} AAAA`): KeyPairView {
    if ([...keys.values()].some((k) => k.accountId === caller.accountId && k.name === name)) throw new Fault('KeyPairExists', `The keypair '${name}' already exists.`);
    change('keys.add', caller, { name, type, publicKey }, o?.dryRun);
    const id = `key-${(keys.size + 1).toString(16).padStart(17, '0')}`;
    keys.set(id, { id, name, fingerprint: 'aa:bb:cc', type, publicKey, createdAt: now(), accountId: caller.accountId });
    for (const [key, value] of Object.entries(o?.tags ?? {})) addTag(caller, id, key, value);
    return keys.get(id) as KeyPairView;
  }

  function addTag(caller: Caller, resourceId: string, key: string, value: string): void {
    const resourceType = resourceId.startsWith('i-') ? 'instance' : resourceId.startsWith('key-') ? 'key-pair' : 'image';
    tags.set(`${resourceId} ${key}`, { resourceId, resourceType, key, value, accountId: caller.accountId });
    const l = leases.get(resourceId);
    if (l !== undefined) leases.set(l.id, { ...l, tags: { ...l.tags, [key]: value } });
  }
  return manager;
}
