/** A listener in front of a whole site with fake nodes, and SDK clients of its users. */
import { EC2Client } from '@aws-sdk/client-ec2';
import type { Config } from '../../src/platform/config.ts';
import type { openTestSite, TestSite } from '../support/site.ts';
import { ALICE, BOB } from './door.ts';
import { openSiteDoor } from './site-door.ts';

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
  const door = await openSiteDoor({ ...given, config: { ...given.config, ec2: { listen: '127.0.0.1:0', ...options.ec2 } } });
  const client = (who: typeof ALICE): EC2Client => new EC2Client({
    endpoint: door.url, region: 'nimbus', credentials: { accessKeyId: who.accessKey, secretAccessKey: who.secret }, maxAttempts: 1,
  });
  const [alice, bob] = [client(ALICE), client(BOB)];
  return {
    site: door.site, port: door.port, alice, bob,
    get now() { return door.site.ctx.clock.now(); },
    async close() {
      alice.destroy();
      bob.destroy();
      await door.close();
    },
  };
}

/** Code of a refusal. */
export async function refused(sending: Promise<unknown>): Promise<string> {
  return sending.then(() => 'accepted', (e: Error) => e.name);
}
