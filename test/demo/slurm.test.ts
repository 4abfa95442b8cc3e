import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPrivateSlurm } from '../../src/demo/slurm/index.ts';
import { StartError } from '../../src/platform/errors.ts';
import type { Random } from '../../src/platform/context.ts';
import { realClock, realRandom } from '../../src/platform/real.ts';
import { hasPart } from '../parts.ts';
import { ask, eventually, jobState, reaches, startTestSlurm, submit, type TestSlurm } from '../support/slurm.ts';

/** Processes that name `text` in their command line or environment or have a file of that name open, this one apart. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc').filter((d) => /^\d+$/.test(d) && Number(d) !== process.pid).flatMap((d) => {
    try {
      const [command = '', environment = ''] = ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${d}/${file}`, 'latin1'));
      const open = readdirSync(`/proc/${d}/fd`).map((fd) => readlinkSync(`/proc/${d}/fd/${fd}`));
      return [command, environment, ...open].join('\0').includes(text) ? [`${d}: ${command.replaceAll('\0', ' ')}`] : [];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

/** In a directory that any user may write. */
async function inDirectory(work: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'slurm-'));
  try {
    chmodSync(root, 0o777);
    await work(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** A program that starts a Slurm of two nodes in `root`/s, as `slurm`, and goes on with `text`. */
async function ownProgram(root: string, text: string): Promise<string> {
  const source = fileURLToPath(new URL('../../src/demo/slurm/index.ts', import.meta.url));
  await build({ entryPoints: [source], outfile: join(root, 'slurm.mjs'), bundle: true, platform: 'node', format: 'esm', logLevel: 'silent' });
  writeFileSync(join(root, 'program.mjs'), `import { startPrivateSlurm } from './slurm.mjs';\nconst slurm = await startPrivateSlurm({ dir: '${join(root, 's')}', nodes: 2 });\n${text}`);
  return join(root, 'program.mjs');
}

function executable(path: string, text: string): string {
  writeFileSync(path, `#!/bin/sh\n${text}`);
  chmodSync(path, 0o755);
  return path;
}

/** slurmctld looks at graces twice a minute. */
const PREEMPTION_MS = 90_000;
/** Of the range that a private Slurm chooses from. */
const FIRST_PORT = 11_317;
const NODES = Array.from({ length: 16 }, (_, i) => `node${i + 1}`);

describe.skipIf(!hasPart('slurm'))('a private Slurm of 16 nodes', () => {
  let slurm: TestSlurm;
  let epilogLog: string;
  let scratch: string;
  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'epi-'));
    epilogLog = join(scratch, 'epilog.log');
    slurm = await startTestSlurm({ epilog: executable(join(scratch, 'epilog'), `echo "$SLURM_JOB_ID $SLURMD_NODENAME" >> ${epilogLog}\n`) });
  });
  afterAll(async () => {
    await slurm.stop();
    rmSync(scratch, { recursive: true, force: true });
  });

  test('runs a task on every node at once, and each knows its node', async () => {
    const said = await ask(slurm, ['srun', '-N16', '--ntasks-per-node=1', 'sh', '-c', 'echo $SLURMD_NODENAME']);
    expect(said.split('\n').sort()).toEqual([...NODES].sort());
    expect(slurm.nodes).toEqual(NODES);
  });

  test('takes, lists and cancels a batch job; the epilogue runs on each of its nodes', async () => {
    const job = await submit(slurm, '#!/bin/sh\nsleep 1000\n', ['--nodes=3', '--exclusive', '--job-name=mine']);
    await reaches(slurm, job, 'RUNNING');
    const list = await ask(slurm, ['squeue', '--noheader', '--format=%i|%j|%P|%D']);
    expect(list.split('\n')).toContain(`${job}|mine|${slurm.partition}|3`);
    const nodes = (await ask(slurm, ['scontrol', 'show', 'hostnames', await ask(slurm, ['squeue', '--noheader', '--jobs', job, '--format=%N'])])).split('\n');
    await ask(slurm, ['scancel', job]);
    await reaches(slurm, job, 'CANCELLED');
    const ran = await eventually('three epilogues', () => {
      const lines = existsSync(epilogLog) ? readFileSync(epilogLog, 'utf8').split('\n').filter((line) => line.startsWith(`${job} `)) : [];
      return lines.length >= nodes.length ? lines : undefined;
    });
    expect(ran.sort()).toEqual(nodes.map((node) => `${job} ${node}`).sort());
  });

  test('gives what is on stdin of srun to the task of every node, from a here-document of the job script', async () => {
    const out = join(slurm.root, 'stdin.out');
    const job = await ask(slurm, ['sbatch', '--parsable', '--wait', '--nodes=4', `--output=${out}`],
      "#!/bin/sh\nsrun --input=all --ntasks-per-node=1 cat <<'END'\nfor each\nEND\n");
    expect(readFileSync(out, 'utf8'), job).toBe('for each\n'.repeat(4));
  });

  test('the remaining tasks live on when a node is given back from under a running srun', async () => {
    const alive = (node: string): string => join(slurm.root, `alive-${node}`);
    const job = await submit(slurm, `#!/bin/sh\nsrun --input=none --ntasks-per-node=1 sh -c 'echo $$ > ${slurm.root}/alive-$SLURMD_NODENAME; exec sleep 1000'\n`, ['--nodes=3', '--exclusive']);
    await reaches(slurm, job, 'RUNNING');
    const nodes = (await ask(slurm, ['scontrol', 'show', 'hostnames', await ask(slurm, ['squeue', '--noheader', '--jobs', job, '--format=%N'])])).split('\n');
    const pids = await eventually('three tasks', () => (nodes.every((n) => existsSync(alive(n)) && statSync(alive(n)).size > 0)
      ? nodes.map((n) => Number(readFileSync(alive(n), 'utf8'))) : undefined));
    const [batch = '', dropped = '', kept = ''] = nodes;
    await ask(slurm, ['scontrol', 'update', `JobId=${job}`, `NodeList=${batch},${kept}`]);
    await eventually('the end of the dropped task', () => !existsSync(`/proc/${pids[1]}`) || undefined);
    await eventually('the dropped node idle', async () => (await ask(slurm, ['sinfo', '--noheader', '--nodes', dropped, '--format=%T'])) === 'idle' || undefined);
    expect([pids[0], pids[2]].map((pid) => existsSync(`/proc/${pid}`))).toEqual([true, true]);
    expect(await jobState(slurm, job)).toBe('RUNNING');
    await ask(slurm, ['scancel', job]);
    await reaches(slurm, job, 'CANCELLED');
  });

  test('nodes are drained with a reason and resumed', async () => {
    const facts = (): Promise<string> => ask(slurm, ['sinfo', '--noheader', '--nodes', 'node16', '--format=%T|%E']);
    await slurm.setNode('node16', 'drain', 'to be mended');
    expect(await facts()).toBe('drained|to be mended');
    await slurm.setNode('node16', 'resume', 'mended');
    // Until the node has answered again it is `idle*`.
    await eventually('node16 idle', async () => (await facts()) === 'idle|none' || undefined);
    await expect(slurm.setNode('node17', 'drain', 'x')).rejects.toThrow(/node17 cannot be set to drain/);
  });

  test('jobs live through the death of a node’s daemon and a pause of the controller', async () => {
    const job = await submit(slurm, '#!/bin/sh\nsleep 1000\n', ['--nodes=1', '--nodelist=node5']);
    await reaches(slurm, job, 'RUNNING');
    await slurm.killNode('node5');
    await expect(slurm.killNode('node5')).rejects.toThrow('node5 does not run');
    await slurm.stopDaemon('slurmctld');
    expect((await slurm.run(['scontrol', 'ping'])).stdout).toContain('is DOWN');
    await slurm.startDaemon('slurmctld');
    await slurm.startDaemon('node5');
    expect(await jobState(slurm, job)).toBe('RUNNING');
    await ask(slurm, ['scancel', job]);
    await reaches(slurm, job, 'CANCELLED');
  });

  test.skipIf(!hasPart('slurm-torque'))('Torque’s commands submit, list and delete', async () => {
    const script = executable(join(slurm.root, 'job.sh'), 'sleep 1000\n');
    const job = await ask(slurm, ['qsub', '-N', 'pbsjob', '-l', 'nodes=2:ppn=1,walltime=00:10:00', '-o', '/dev/null', '-e', '/dev/null', script]);
    expect(job).toMatch(/^\d+$/);
    await reaches(slurm, job, 'RUNNING');
    expect(await ask(slurm, ['qstat', '-f', job])).toMatch(/job_state = R\n[^]*Resource_List\.walltime = 00:10:00\n\tResource_List\.nodect = 2/);
    await ask(slurm, ['qdel', job]);
    await reaches(slurm, job, 'CANCELLED');
  });
});

describe.skipIf(!hasPart('slurm'))('the end of a private Slurm', () => {
  const started: TestSlurm[] = [];
  const start = async (options: Parameters<typeof startTestSlurm>[0]): Promise<TestSlurm> => {
    const slurm = await startTestSlurm(options);
    started.push(slurm);
    return slurm;
  };
  afterEach(() => Promise.all(started.splice(0).map((slurm) => slurm.stop())));

  test('takes running jobs with it, whatever they did to get away, and leaves no file', async () => {
    const slurm = await start({ nodes: 2, killWaitS: 30 });
    const there = join(slurm.root, 'there');
    const job = await submit(slurm, `#!/bin/bash
trap '' TERM
srun --input=none --ntasks-per-node=1 bash -c 'trap "" TERM; echo x >> ${there}; sleep 1000' &
( setsid bash -c 'trap "" TERM; echo x >> ${there}; sleep 1000' & )
wait
`, ['--nodes=2']);
    await eventually('two tasks and a process that left', () => (existsSync(there) && readFileSync(there, 'utf8') === 'x\n'.repeat(3)) || undefined);
    // Being cancelled, too.
    await ask(slurm, ['scancel', job]);
    expect(processesNaming(slurm.dir).length).toBeGreaterThan(3);
    await slurm.stop();
    expect(processesNaming(slurm.dir)).toEqual([]);
    expect(existsSync(slurm.root)).toBe(false);
    await slurm.stop();
  });

  test('a job of the high partition displaces one of the low, after the grace', async () => {
    const slurm = await start({ nodes: 2, preempt: { graceS: 2 } });
    const low = await submit(slurm, '#!/bin/sh\nsleep 1000\n', ['--nodes=2', '--exclusive', '--no-requeue']);
    await reaches(slurm, low, 'RUNNING');
    const high = await submit(slurm, '#!/bin/sh\nsleep 1000\n', ['--nodes=2', '--exclusive', `--partition=${slurm.highPartition}`]);
    await reaches(slurm, high, 'RUNNING', PREEMPTION_MS);
    expect(await jobState(slurm, low)).toBe('PREEMPTED');
  });

  test.skipIf(!hasPart('cgroup-v1'))('with cgroups, SIGKILL reaches what has left its parents', async () => {
    const slurm = await start({ nodes: 1, proctrack: 'cgroup', killWaitS: 1 });
    await expect(start({ nodes: 1, proctrack: 'cgroup' })).rejects.toThrow(/another Slurm on this machine/);
    const file = join(slurm.root, 'pid');
    const job = await submit(slurm, `#!/bin/bash\n( setsid bash -c 'trap "" TERM; echo $$ > ${file}; sleep 1000' & )\nsleep 1000\n`);
    const pid = await eventually('a process that left', () => (existsSync(file) && Number(readFileSync(file, 'utf8'))) || undefined);
    await ask(slurm, ['scancel', job]);
    await eventually('its end', () => !existsSync(`/proc/${pid}`) || undefined);
    await slurm.stop();
    expect(readdirSync('/sys/fs/cgroup/freezer').filter((name) => name.startsWith('slurm'))).toEqual([]);
  });

  test.skipIf(!hasPart('root'))('runs as an ordinary user, too', () => inDirectory(async (root) => {
    const program = await ownProgram(root, "console.log((await slurm.run(['srun', '-N2', 'id', '-u'])).stdout);\nawait slurm.stop();\n");
    const ran = await promisify(execFile)('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, program], { cwd: root, timeout: 200_000, env: { PATH: process.env['PATH'] } });
    expect(ran.stdout.trim()).toBe('65534\n65534');
    expect(processesNaming(root)).toEqual([]);
  }));

  test('leaves no daemon when its program is killed', () => inDirectory(async (root) => {
    const program = await ownProgram(root, "console.log('ready');\nsetInterval(() => undefined, 1000);\n");
    const child = spawn(process.execPath, [program], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = await once(child.stdout, 'data') as [Buffer];
    expect(said.toString().trim()).toBe('ready');
    expect(processesNaming(join(root, 's')).length).toBeGreaterThan(3);
    child.kill('SIGKILL');
    await eventually('the end of the daemons', () => processesNaming(root).length === 0 || undefined);
  }));

  test('two at the same time do not meet', async () => {
    const [a, b] = await Promise.all([start({ nodes: 2 }), start({ nodes: 2 })]);
    await submit(a, '#!/bin/sh\nsleep 1000\n', ['--job-name=first']);
    expect(await ask(a, ['squeue', '--noheader', '--format=%j'])).toBe('first');
    expect(await ask(b, ['squeue', '--noheader', '--format=%j'])).toBe('');
    await a.stop();
    expect(await ask(b, ['srun', '-N2', 'echo', 'here'])).toBe('here\nhere');
  });
});

test.skipIf(!hasPart('slurm'))('a port that somebody takes before the daemon does is replaced by another', async () => {
  const root = mkdtempSync(join(tmpdir(), 'slurm-'));
  const thief = createServer();
  let port = 0;
  const ports = createRandomPorts((first) => { port = first; }, () => void thief.listen(port, '127.0.0.1'));
  try {
    const slurm = await startPrivateSlurm({ dir: join(root, 's'), nodes: 1 }, { clock: realClock, random: ports });
    try {
      expect(thief.listening).toBe(true);
      expect(await ask(slurm, ['scontrol', 'show', 'config'])).not.toMatch(new RegExp(`SlurmctldPort *= ${port}$`, 'm'));
    } finally {
      await slurm.stop();
    }
  } finally {
    thief.close();
    rmSync(root, { recursive: true, force: true });
  }
});

/** Real random; says the first port that is asked for, and when the ports are chosen and the cluster gets its name. */
function createRandomPorts(onPort: (port: number) => void, onName: () => void): Random {
  let asked = 0;
  let named = 0;
  return {
    bytes(n) {
      if (n === 6 && (named += 1) === 1) onName();
      if (n !== 4 || (asked += 1) > 1) return realRandom.bytes(n);
      onPort(FIRST_PORT);
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(FIRST_PORT - 10_000);
      return bytes;
    },
  };
}

describe.skipIf(!hasPart('slurm'))('a private Slurm that cannot start', () => {
  let root: string;
  beforeAll(() => { root = mkdtempSync(join(tmpdir(), 'slurm-')); });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('shows what the daemon said and leaves nothing', async () => {
    const dir = join(root, 'wrong');
    await expect(startPrivateSlurm({ dir, nodes: 1, extra: ['SelectType=select/nonsense'] })).rejects.toThrow(/ended \(exit code 1\) and said: [^]*select\/nonsense/);
    expect(existsSync(dir)).toBe(false);
    expect(processesNaming(dir)).toEqual([]);
  });

  test.each<[string, Partial<Parameters<typeof startPrivateSlurm>[0]>, RegExp]>([
    ['a directory with a space', { dir: '/tmp/a b' }, /"\/tmp\/a b" as its dir/],
    ['a long directory', { dir: `/tmp/${'x'.repeat(60)}` }, /choose a shorter directory/],
    ['a relative epilogue', { epilog: 'epilog.sh' }, /"epilog.sh" as its epilog/],
    ['no node', { nodes: 0 }, /nodes of a private Slurm is a whole number from 1 up, not 0/],
    ['too many nodes', { nodes: 257 }, /at most 256 nodes/],
    ['a KillWait with a fraction', { killWaitS: 1.5 }, /killWaitS/],
    ['two lines as one', { extra: ['A=1\nB=2'] }, /one line/],
  ])('refuses %s', async (_, options, why) => {
    const dir = join(root, 'refused');
    const error: unknown = await startPrivateSlurm({ dir, ...options }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(StartError);
    expect((error as Error).message).toMatch(why);
    expect(existsSync(dir)).toBe(false);
  });

  test('does not touch a directory that is there', async () => {
    const dir = join(root, 'mine');
    mkdirSync(dir);
    writeFileSync(join(dir, 'file'), 'mine');
    await expect(startPrivateSlurm({ dir, nodes: 1 })).rejects.toThrow(/is there already/);
    expect(readdirSync(dir)).toEqual(['file']);
  });
});
