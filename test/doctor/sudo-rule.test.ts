/** A node whose agent may not start its helper: what the doctor says is the agent's own answer, of a real agent with the real sudo. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localTransport } from '../../src/control/client/local.ts';
import { askNodes } from '../../src/doctor/nodes.ts';
import { vmmNodes } from '../../src/doctor/checks/vmm-nodes.ts';
import type { DoctorSite } from '../../src/doctor/types.ts';
import type { NodeAdminRow } from '../../src/store/nodes-admin.ts';
import { bundle } from '../control/agent/program.ts';
import { overTransports } from '../control/client/setup.ts';
import { hasPart } from '../parts.ts';
import { testContext } from '../support/context.ts';

const NOBODY = '65534';
const here = hasPart('mounts') && hasPart('qemu') && hasPart('sudo');
const HELPER = ['sudo', '-n', process.execPath, '/mnt/agent.cjs', 'helper'];

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'sudo-')); });
afterEach(() => rmSync(root, { recursive: true }));

/**
 * Runs the agent as the user nobody, in a mount namespace with an /etc of its own, where the helper has its policy and, if
 * `rule`, sudo its rule. It stands in the agent's place: what it is started with it reads over.
 */
function agentOfNobody(agent: string, rule: boolean): string {
  const program = join(root, 'agent-of-nobody.mjs');
  const script = [
    'mount -t tmpfs -o mode=755 tmpfs /mnt', 'cp "$1" /mnt/agent.cjs', 'mkdir -m 700 /mnt/state', 'chown nobody /mnt/state',
    `echo '${JSON.stringify({ helper: { command: HELPER } })}' > /mnt/agent.json`,
    'mkdir /mnt/etc', 'cp -a /etc/. /mnt/etc', 'mkdir -p /mnt/etc/nimbus', `echo '{"stateDirs":["/mnt/state"]}' > /mnt/etc/nimbus/helper.json`, 'rm -f /mnt/etc/sudoers.d/nimbus',
    ...(rule ? [`echo "nobody ALL=(root) NOPASSWD: ${HELPER.slice(2).join(' ')}" > /mnt/etc/sudoers.d/nimbus`, 'chmod 440 /mnt/etc/sudoers.d/nimbus'] : []),
    'mount --bind /mnt/etc /etc',
    `exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$2" /mnt/agent.cjs serve --state /mnt/state --driver qemu --config /mnt/agent.json`,
  ].join('\n');
  // In a process namespace too: nothing of the agent outlives it.
  const args = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc', '--', 'sh', '-ec', script, 'sh', agent, process.execPath];
  writeFileSync(program, `
import { spawn } from 'node:child_process';
const child = spawn('unshare', ${JSON.stringify(args)}, { stdio: 'inherit' });
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
`);
  return program;
}

async function findings(rule: boolean): Promise<string[]> {
  const row = { id: 1, name: 'n1', active: true, access: { transport: 'local', stateDir: join(root, 'beside'), driver: 'qemu' } } as NodeAdminRow;
  const ctx = testContext();
  const { client } = overTransports([localTransport(ctx, row.access as Parameters<typeof localTransport>[1], agentOfNobody(await bundle(root), rule))], { silenceMs: 30_000 }, ctx);
  try {
    const nodes = await askNodes(ctx, [row], client);
    const found = await vmmNodes.look({ nodes, batch: null, db: {}, version: 'another' } as unknown as DoctorSite);
    return found.filter((f) => f.check === 'helper' || f.check === 'VMM nodes').map((f) => [`${f.level} ${f.check}: ${f.what}`, ...f.mend].join('\n'));
  } finally {
    await client.close();
  }
}

describe.skipIf(!here)('an agent that is not root', () => {
  test('without a sudo rule for its helper says so, and the doctor how to mend it', async () => {
    expect(await findings(false)).toEqual([
      'ok VMM nodes: 1 of 1 answers',
      expect.stringMatching(/^fail helper: n1: the helper does not answer: the helper gave no answer: sudo: a password is required \(docs\/operations\.md, "Helper"\)\non n1, as root \(visudo -f \/etc\/sudoers\.d\/nimbus\), .*\n {2}ACCOUNT ALL=\(root\) NOPASSWD: \/usr\/bin\/node \/opt\/nimbus\/workspace-control\.cjs helper\nthen, as that account: sudo -n -l$/),
    ]);
  });

  test('with the rule it has nothing to say', async () => {
    expect((await findings(true)).filter((f) => f.includes('helper'))).toEqual([]);
  });
});
