/** A listener in front of a whole site with fake nodes, and SDK clients of its users. */
import { EC2Client } from '@aws-sdk/client-ec2';
import { createEc2Server } from '../../src/ec2/server.ts';
import type { Config } from '../../src/platform/config.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { ALICE, BOB } from './door.ts';

export interface RealDoor {
  readonly site: TestSite;
  readonly port: number;
  /** Wall clock, for signatures. */
  readonly now: number;
  readonly alice: EC2Client;
  readonly bob: EC2Client;
  close(): Promise<void>;
}

export async function openRealDoor(options: { ec2?: Partial<Config['ec2']>; site?: Parameters<typeof openTestSite>[0] } = {}): Promise<RealDoor> {
  const given = options.site ?? {};
  const site = await openTestSite({ ...given, config: { ...given.config, ec2: { listen: '127.0.0.1:0', ...options.ec2 } } });
  const callers = new Map([[ALICE.accessKey, { ...site.alice, secret: ALICE.secret }], [BOB.accessKey, { ...site.bob, secret: BOB.secret }]]);
  const find = (key: string) => Promise.resolve(callers.get(key) ?? null);
  const server = createEc2Server(site.ctx, { ...site.manager, credentials: { ...site.manager.credentials, find } }, site.config.ec2);
  const { url, port } = await server.listen();
  const client = (who: typeof ALICE): EC2Client => new EC2Client({
    endpoint: url, region: 'nimbus', credentials: { accessKeyId: who.accessKey, secretAccessKey: who.secret }, maxAttempts: 1,
  });
  const [alice, bob] = [client(ALICE), client(BOB)];
  return {
    site, port, alice, bob,
    get now() { return site.ctx.clock.now(); },
    async close() {
      alice.destroy();
      bob.destroy();
      await server.close();
      await site.close();
    },
  };
}

/** Code of a refusal. */
export async function refused(sending: Promise<unknown>): Promise<string> {
  return sending.then(() => 'accepted', (e: Error) => e.name);
}
