/** The EC2 door of a whole site: real manager, real PostgreSQL, nodes that live in the test. Two ordinary users sign. */
import { createEc2Server } from '../../src/ec2/server.ts';
import type { Caller } from '../../src/manager/types.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { ALICE, BOB, form, post, type Reply } from './door.ts';

export interface SiteDoor {
  readonly site: TestSite;
  readonly url: string;
  readonly port: number;
  /** A signed request, answered. */
  ask(params: Readonly<Record<string, string>>, who?: typeof ALICE): Promise<Reply>;
  /** The same, once all that was asked of nodes is done and written down. */
  settled(params: Readonly<Record<string, string>>, who?: typeof ALICE): Promise<Reply>;
  /** One instance, running. */
  run(params?: Readonly<Record<string, string>>, who?: typeof ALICE): Promise<string>;
  close(): Promise<void>;
}

export async function openSiteDoor(options: Parameters<typeof openTestSite>[0] = {}): Promise<SiteDoor> {
  const site = await openTestSite(options);
  const find = async (accessKey: string) => {
    const who: readonly [Caller, string] | undefined = accessKey === ALICE.accessKey ? [site.alice, ALICE.secret] : accessKey === BOB.accessKey ? [site.bob, BOB.secret] : undefined;
    return who === undefined ? null : { secret: who[1], accountId: who[0].accountId, name: who[0].name, ownerId: who[0].ownerId, admin: false };
  };
  const manager = { ...site.manager, credentials: { ...site.manager.credentials, find } };
  const server = createEc2Server(site.ctx, manager, { ...site.config.ec2, listen: '127.0.0.1:0' });
  const { url, port } = await server.listen();
  let asked = 0;
  // The same request within a second is the same signature, which is taken once: a parameter without a meaning tells them apart.
  const ask: SiteDoor['ask'] = (params, who = ALICE) => post({ now: site.ctx.clock.now(), port, url }, form({ ...params, Timestamp: String(asked += 1) }), who);
  return {
    site, url, port, ask,
    async settled(params, who) {
      const reply = await ask(params, who);
      await site.settled();
      return reply;
    },
    async run(params = {}, who = ALICE) {
      const reply = await ask({ Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', ...params }, who);
      await site.settled();
      const id = first(reply, 'instanceId');
      if (id === '') throw new Error(`no instance: ${reply.body}`);
      return id;
    },
    async close() {
      await server.close();
      await site.close();
    },
  };
}

/** Texts of all elements of a name, in their order. */
export const all = (reply: Pick<Reply, 'body'>, name: string): string[] => [...reply.body.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map((m) => m[1] ?? '');
export const first = (reply: Pick<Reply, 'body'>, name: string): string => all(reply, name)[0] ?? '';
