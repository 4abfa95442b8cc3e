/** What the administrators' door offers: one line a request, each one call of the manager. `docs/operations.md` lists them. */
import type { Readable } from 'node:stream';
import { Router, type Request, type Response } from 'express';
import { Fault } from '../lease/faults.ts';
import type { Finding } from '../doctor/types.ts';
import type { FsckOptions, FsckReport } from '../fsck/types.ts';
import type { AdminManager, BatchSystemView } from '../manager/admin-types.ts';
import type { Caller, LeaseChange, Manager } from '../manager/types.ts';
import * as input from './input.ts';

/** What the door uses of the manager. */
export interface AdministeredLeases extends Pick<Manager['leases'], 'describe' | 'end' | 'setEnd' | 'events' | 'console'> {
  /** Ends leases whose node will never answer again; nothing is sent to it. */
  forget(caller: Caller, ids: readonly string[], why: string): Promise<LeaseChange[]>;
}
export interface AdminStatus {
  readonly version: string;
  readonly pid: number;
  readonly ec2: string;
  readonly database: string;
  readonly monitoring?: string;
  /** Only in pilot mode. */
  readonly batchSystem?: BatchSystemView;
}
export interface AdminServices {
  readonly admin: AdminManager;
  readonly manager: { readonly leases: AdministeredLeases };
  readonly status: () => AdminStatus;
  /** Settings that `nimbus node add` gives to agents on other machines. */
  readonly agentConfig?: Readonly<Record<string, unknown>>;
  /** Looks whether everything that the service needs is there. */
  readonly doctor?: () => Promise<readonly Finding[]>;
  readonly fsck?: (options: FsckOptions) => Promise<FsckReport>;
  /** The bytes of a backup. */
  readonly backup?: (options: { images: boolean }) => Readable;
}

/** The answer becomes JSON, or bytes where it is a stream; undefined becomes 204. */
export type Handler = (request: Request, caller: Caller) => Promise<unknown>;
type Method = 'get' | 'post' | 'patch' | 'put' | 'delete';
type Route = readonly [Method, string, Handler];

export function adminRouter(services: AdminServices, run: (handler: Handler) => (req: Request, res: Response) => void): Router {
  const router = Router();
  const all = [...site(services), ...checks(services), ...users(services.admin), ...nodes(services.admin), ...images(services.admin), ...networks(services.admin), ...leases(services), ...slots(services.admin), ...policies(services.admin)];
  for (const [method, path, handler] of all) router[method](path, run(handler));
  return router;
}

const param = (req: Request, key: string): string => String(req.params[key]);

function site({ admin, status, agentConfig, doctor }: AdminServices): Route[] {
  return [
    // Whoever waits for a long answer asks this meanwhile; it needs nothing that may be away.
    ['get', '/alive', () => Promise.resolve(undefined)],
    ['get', '/doctor', () => {
      if (doctor === undefined) throw new Fault('Unsupported', 'This service does not look after itself.');
      return doctor();
    }],
    ['get', '/processes', () => admin.processes.list()],
    ['get', '/status', async () => ({ ...status(), nodes: await admin.nodes.list() })],
    ['get', '/agent', async () => ({ operatingKey: await admin.nodes.operatingKey(), agentConfig: agentConfig ?? null })],
    ['get', '/usage/sinks', () => admin.usage.sinks()],
    ['get', '/subscriptions', () => admin.usage.subscriptions()],
    ['get', '/events', (req) => {
      const { after, last, ...choice } = input.check(input.eventQuery, req.query);
      return after === undefined ? admin.events.newest(choice, last) : admin.events.after(choice, after);
    }],
    ['get', '/usage', (req) => admin.usage.list(input.check(input.usageQuery, req.query))],
  ];
}

function checks({ fsck, backup }: AdminServices): Route[] {
  const check = (options: FsckOptions): Promise<FsckReport> => {
    if (fsck === undefined) throw new Fault('Unsupported', 'This service does not check its database.');
    return fsck(options);
  };
  return [
    ['get', '/fsck', (req) => check({ repair: false, deep: input.check(input.fsckQuery, req.query).deep })],
    ['get', '/backup', (req) => {
      const { images } = input.check(input.backupQuery, req.query);
      if (backup === undefined) throw new Fault('Unsupported', 'This service makes no backups.');
      return Promise.resolve(backup({ images }));
    }],
    ['post', '/fsck', (req) => check({ repair: true, deep: input.check(input.fsckRepair, req.body ?? {}).deep })],
  ];
}

function users({ users: u }: AdminManager): Route[] {
  return [
    ['get', '/users', () => u.list()],
    ['post', '/users', (req) => {
      const { name, admin, dns } = input.check(input.newUser, req.body);
      return u.add(name, admin, dns);
    }],
    ['delete', '/users/:name', (req) => u.remove(param(req, 'name'))],
    ['post', '/users/:name/keys', (req) => u.addKey(param(req, 'name'))],
    ['delete', '/users/:name/keys/:key', (req) => u.deactivateKey(param(req, 'name'), param(req, 'key'))],
    ['post', '/users/:name/dns', (req) => u.addDn(param(req, 'name'), input.check(input.userDn, req.body).dn)],
    ['delete', '/users/:name/dns/:dn', (req) => u.removeDn(param(req, 'name'), input.check(input.userDn, { dn: param(req, 'dn') }).dn)],
    ['get', '/users/:name/certificates', (req) => u.certificates(param(req, 'name'))],
    ['post', '/users/:name/certificates', (req) => u.addCertificate(param(req, 'name'), input.check(input.userCertificate, req.body).certificate)],
    ['delete', '/users/:name/certificates/:fingerprint', (req) => u.removeCertificate(param(req, 'name'), param(req, 'fingerprint'))],
  ];
}

function nodes({ nodes: n }: AdminManager): Route[] {
  return [
    ['get', '/nodes', () => n.list()],
    ['post', '/nodes', (req) => n.add(input.check(input.newNode, req.body))],
    ['patch', '/nodes/:name', (req) => n.setActive(param(req, 'name'), input.check(input.nodeChange, req.body).active)],
    ['delete', '/nodes/:name', (req) => n.remove(param(req, 'name'))],
  ];
}

function images({ images: i }: AdminManager): Route[] {
  return [
    ['get', '/images', () => i.list()],
    ['post', '/images', (req) => i.add(input.check(input.newImage, req.body))],
    ['delete', '/images', (req) => {
      const which = input.check(input.imageChoice, req.query);
      return i.remove('id' in which ? which : { name: which.name, owner: which.owner ?? null });
    }],
  ];
}

function networks({ networks: n }: AdminManager): Route[] {
  return [
    ['get', '/networks', () => n.list()],
    ['post', '/networks', (req) => n.add(input.check(input.newNetwork, req.body))],
    ['delete', '/networks/:name', (req) => n.remove(param(req, 'name'))],
    ['get', '/networks/:name/addresses', (req) => n.addresses(param(req, 'name'))],
    ['post', '/networks/:name/addresses', (req) => n.addAddresses(param(req, 'name'), input.check(input.newAddresses, req.body))],
    ['delete', '/networks/:name/addresses/:ip', (req) => n.removeAddress(param(req, 'name'), param(req, 'ip'))],
  ];
}

function slots({ slots: s, breakdown }: AdminManager): Route[] {
  return [
    ['get', '/slots', (req) => s.list(input.check(input.slotQuery, req.query))],
    ['get', '/slots/:id', (req) => s.show(param(req, 'id'))],
    ['post', '/slots/:id/kill', (req, caller) => s.kill(caller, param(req, 'id'), reason(req, 'ended by an administrator'))],
    ['post', '/kill-all', (req, caller) => {
      const { why, ...choice } = input.check(input.killAll, req.body ?? {});
      return s.killAll(caller, choice, why || 'all slots ended by an administrator');
    }],
    ['get', '/breakdown/:id', (req) => breakdown.of(param(req, 'id'))],
  ];
}

function policies({ policies: p }: AdminManager): Route[] {
  return [
    ['get', '/policies', () => p.list()],
    ['post', '/policies/explain', (req, caller) => {
      const { user, duration, maxCount, ...request } = input.check(input.explained, req.body);
      return p.explain(caller, user, { ...request, maxCount: Math.max(request.minCount, maxCount ?? request.minCount), durationS: duration });
    }],
    ['get', '/policies/:name', (req) => p.show(param(req, 'name'))],
    ['put', '/policies/:name', (req) => p.set(param(req, 'name'), input.check(input.policyChange, req.body))],
    ['delete', '/policies/:name', (req) => p.remove(param(req, 'name'))],
    ['post', '/policies/:name/users', (req) => p.assign(param(req, 'name'), input.check(input.policyUser, req.body).user)],
    ['delete', '/policies/:name/users/:user', (req) => p.unassign(param(req, 'name'), param(req, 'user'))],
  ];
}

const reason = (req: Request, otherwise: string): string => input.check(input.why, req.body ?? {}).why || otherwise;

function leases({ admin: { work }, manager: { leases: l } }: AdminServices): Route[] {
  const id = (req: Request): string => input.leaseId(req.params['id']);
  return [
    ['get', '/leases', (req, caller) => {
      const { user, ...query } = input.check(input.leaseQuery, req.query);
      return l.describe(caller, { ...query, account: user });
    }],
    ['get', '/leases/:id', async (req, caller) => {
      const [lease] = await l.describe(caller, { ids: [id(req)], missing: 'fault' });
      if (lease === undefined) throw new Fault('LeaseNotFound', `The lease ${id(req)} does not exist.`);
      return { ...lease, work: await work.of(lease.id), events: await l.events(caller, lease.id) };
    }],
    ['put', '/leases/:id/end', async (req, caller) => (await l.setEnd(caller, [id(req)], input.check(input.newEnd, req.body)))[0]],
    ['post', '/leases/:id/destroy', async (req, caller) => (await l.end(caller, [id(req)], reason(req, 'ended by an administrator')))[0]],
    ['post', '/leases/:id/forget', async (req, caller) => (await l.forget(caller, [id(req)], reason(req, 'forgotten by an administrator')))[0]],
    ['get', '/leases/:id/console', async (req, caller) => {
      const { bytes, at } = await l.console(caller, id(req));
      return { output: bytes.toString('base64'), at };
    }],
  ];
}
