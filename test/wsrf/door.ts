/** The grid services over HTTP on a whole site with fake nodes; who asks is said by a header instead of a certificate. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Fault } from '../../src/lease/faults.ts';
import type { Caller } from '../../src/manager/types.ts';
import { createAddressPolicy } from '../../src/platform/outside/address-policy.ts';
import { statement } from '../../src/store/db.ts';
import { createWsrfDoor } from '../../src/wsrf/door.ts';
import { gridDescriptions, SERVICES_PATH } from '../../src/wsrf/wire/descriptions.ts';
import { notify } from '../../src/wsrf/notify.ts';
import { createNotifier, type Notifier } from '../../src/workers/notifier.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

export interface WsrfSite {
  readonly site: TestSite;
  /** `http://127.0.0.1:PORT/wsrf/services/` */
  readonly base: string;
  readonly descriptions: ReturnType<typeof gridDescriptions>;
  readonly notifier: Notifier;
  close(): Promise<void>;
}

export async function openWsrfSite(options: Parameters<typeof openTestSite>[0] = {}): Promise<WsrfSite> {
  const site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 8192, cores: 32 }, { name: 'n2', memoryMb: 8192, cores: 32 }], ...options });
  await site.db.query(statement('wsrf-image', `INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-00000000000000ba5', 'base.img', 'raw', 512, repeat('1', 64), 'common/base', now())`));
  await site.db.query(statement('wsrf-public', `UPDATE network SET kind = 'bridge', bridge = 'br0', prefix = 16, gateway = '192.168.0.1' WHERE name = 'public'`));
  await site.db.query(statement('wsrf-private', `INSERT INTO network (name, kind, bridge, prefix, gateway, created_at) VALUES ('private', 'bridge', 'br1', 16, '172.16.0.1', now())`));
  await site.db.query(statement('wsrf-addresses', `
    INSERT INTO network_address (network_id, ip, hostname, mac) SELECT n.id, '192.168.0.0'::inet + i, 'pub' || i, 'a2:aa:bb:00:00:' || lpad(to_hex(i), 2, '0')
      FROM network n, generate_series(10, 200) i WHERE n.name = 'public'`));
  const descriptions = gridDescriptions();
  const policy = createAddressPolicy(site.config.wsrf.allowed_consumers);
  const callers: Readonly<Record<string, Caller>> = { alice: site.alice, bob: site.bob, root: site.admin };
  const door = createWsrfDoor({
    ctx: site.ctx, config: site.config, manager: site.manager, policy,
    authenticate(_, { transport }) {
      const caller = callers[String(transport.headers['x-user'] ?? 'alice')];
      if (caller === undefined) throw new Fault('AuthFailure', 'nobody is known by this name');
      return { context: caller };
    },
    origin: (request) => `http://${request.headers.host ?? ''}`,
  }, descriptions);
  const server = createServer(door);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}${SERVICES_PATH}`;
  const deadlineMs = site.config.wsrf.consumer_deadline_ms;
  const notifier = createNotifier(site.ctx, site.db, {
    deadlineMs, deliver: (s, news) => notify({ ctx: site.ctx, codec: descriptions.codec, policy, base: () => base, deadlineMs }, s, news),
  });
  return {
    site, base, descriptions, notifier,
    async close() {
      await notifier.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await site.close();
    },
  };
}

export interface Asked {
  readonly status: number;
  readonly text: string;
}

/** One request with this body, and these header blocks. */
export async function ask({ base }: Pick<WsrfSite, 'base'>, service: string, body: string, header = '', user = 'alice'): Promise<Asked> {
  const envelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>${header}</s:Header><s:Body>${body}</s:Body></s:Envelope>`;
  const answer = await fetch(base + service, { method: 'POST', body: envelope, headers: { 'content-type': 'text/xml; charset=utf-8', 'x-user': user } });
  return { status: answer.status, text: await answer.text() };
}
