/** The batch system's commands on a login node: a real sshd before a real Slurm, and a connection that is lost in the middle. */
import { writeFileSync } from 'node:fs';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sshdSet, type Sshd, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { eventually } from '../../support/slurm.ts';
import { startCluster, type Cluster } from './cluster.ts';

let set: SshdSet;
let sshd: Sshd;
let c: Cluster;
beforeEach(async () => {
  set = sshdSet();
  sshd = await set.make({ config: ['PermitUserEnvironment yes'] });
});
afterEach(async () => {
  await c?.stop();
  await set.close();
});

/** The login node lets the service in only after its start: until then it knows nothing of the batch system. */
async function startSite(): Promise<void> {
  const key = set.key('login');
  c = await startCluster({
    slurm: { nodes: 2 },
    toml: `[login_node]\nhost = "${sshd.host}"\nport = ${sshd.port}\nuser = "${sshd.user}"\nkey = ${JSON.stringify(key.privateFile)}\nhost_key = "${sshd.hostKey}"\n`,
  });
  const environment = Object.entries(c.env).map(([k, v]) => `environment="${k}=${v}"`).join(',');
  writeFileSync(sshd.authorizedKeys, `restrict,${environment} ${key.publicLine}\n`, { mode: 0o600 });
  await says('"message":"batch system"');
}
const says = (text: string, after = 0): Promise<true> => eventually(`"${text}" in the log`, () => (c.serve.log().slice(after).includes(text) ? true : undefined), 90_000);

async function lease(count: number): Promise<string[]> {
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = await c.serve.user('ada');
  const client = new EC2Client({ endpoint: c.serve.ec2, region: 'nimbus', credentials: { accessKeyId, secretAccessKey } });
  try {
    const { Instances } = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: count, MaxCount: count }));
    return (Instances ?? []).map((i) => i.InstanceId ?? '');
  } finally {
    client.destroy();
  }
}

describe.skipIf(!hasPart('slurm') || !hasPart('sshd'))('a login node', () => {
  it('submits, lists and ends a group; what it could not be asked meanwhile changes nothing', { timeout: 480_000 }, async () => {
    await startSite();
    const ids = await lease(2);
    await c.all('Running');
    const before = c.serve.log().length;
    await sshd.stop();
    await says('the batch system does not say what it runs', before);
    expect((await c.leases()).map((l) => l.state)).toEqual(['Running', 'Running']);
    await c.serve.admin('lease', 'destroy', ...ids);
    await c.all('Terminated');
    await sshd.start();
    await c.clean();
    expect((await c.slots()).map((s) => s.nodes.map((n) => n.state))).toEqual([['Returned', 'Returned']]);
  });

  it('lost before the job is submitted: it is submitted once when the login node is back', { timeout: 480_000 }, async () => {
    await startSite();
    await sshd.stop();
    const before = c.serve.log().length;
    const ids = await lease(2);
    await says('"message":"a job was submitted"', before);
    expect(c.serve.log().slice(before)).not.toContain('"answer":"submitted"');
    await sshd.start();
    await c.all('Running');
    expect(await c.slots()).toHaveLength(1);
    expect((await c.slurm.run(['squeue', '--noheader', '--format=%j'])).stdout.trim().split('\n')).toEqual([(await c.slots())[0]?.id]);
    await c.serve.admin('lease', 'destroy', ...ids);
    await c.all('Terminated');
    await c.clean();
  });
});
