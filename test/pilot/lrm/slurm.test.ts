import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expandHosts } from '../../../src/pilot/lrm/slurm/hostlist.ts';
import { parseSqueue } from '../../../src/pilot/lrm/slurm/squeue.ts';
import { jobsOf } from '../../../src/pilot/lrm/slurm/jobs.ts';
import { fixture, jobRequest, listed, lrmOf, part, ran, tableRunner } from './support.ts';

const ID = ['id -u', ran('0\n')] as const;
const listingOf = (text: string): ReturnType<typeof listed> => listed(lrmOf(tableRunner([ID, ['squeue', ran(text)]]), ''));
const line = (more: Partial<Record<'id' | 'leader' | 'offset' | 'user' | 'state' | 'partition' | 'priority' | 'restarts' | 'start' | 'reason' | 'nodes' | 'name', string>>): string => {
  const l = { id: '1', leader: 'N/A', offset: 'N/A', user: '0', state: 'RUNNING', partition: 'main', priority: '1', restarts: '0', start: 'N/A', reason: 'None', nodes: '', name: 'sl-000000000001', ...more };
  return [l.id, l.leader, l.offset, l.user, l.state, l.partition, l.priority, l.restarts, l.start, l.reason, l.nodes, l.name.slice(0, 16).padEnd(16)].join('|');
};

describe('squeue', () => {
  test('a recorded list: states, places, parts of jobs, hosts; the forged line is nobody\'s', async () => {
    const { jobs, ignored } = await listingOf(fixture('slurm-22.05/squeue.txt'));
    const short = jobs.map((j) => [j.slotId, j.jobId, j.state, j.position, j.hosts.join(' ')]);
    expect(short).toEqual([
      ['sl-0123456789a1', '24', 'cancelled', null, 'node1 node4'],
      ['sl-000000000007', '35', 'cancelled', null, ''],
      ['sl-000000000003', '29', 'queued', 2, ''],
      ['sl-000000000005', '32', 'queued', 4, ''],
      ['sl-000000000004', '30', 'held', null, ''],
      ['sl-000000000001', '25', 'running', null, 'node1 node2'],
      ['sl-000000000006', '33', 'queued', 6, ''],
      ['sl-000000000002', '26', 'running', null, 'node3 node4'],
    ]);
    expect(ignored).toEqual([]);
    expect(jobs.find((j) => j.jobId === '30')).toMatchObject({ native: 'PENDING', reason: 'JobHeldUser', requeued: false });
  });

  test('a job with our name that is another user\'s is not ours', async () => {
    expect((await listingOf(line({ user: '1001' }))).jobs).toEqual([]);
  });

  test('a job that was put back is told', async () => {
    const { jobs } = await listingOf(line({ state: 'PENDING', restarts: '1', reason: 'BeginTime', start: '1795379854' }));
    expect(jobs).toMatchObject([{ state: 'queued', requeued: true, reason: 'BeginTime', expectedStart: 1_795_379_854_000, position: 1 }]);
  });

  test.each([
    ['REQUEUE_HOLD', 'held'], ['CONFIGURING', 'starting'], ['SUSPENDED', 'running'], ['COMPLETING', 'ending'], ['COMPLETED', 'done'], ['FAILED', 'failed'],
    ['TIMEOUT', 'timeout'], ['PREEMPTED', 'preempted'], ['NODE_FAIL', 'node-failed'], ['OUT_OF_MEMORY', 'failed'], ['BOOT_FAIL', 'node-failed'],
  ])('%s is %s', async (word, state) => {
    expect((await listingOf(line({ state: word }))).jobs[0]).toMatchObject({ state, native: word });
  });

  test('lines of ours that cannot be read are named', async () => {
    const text = [line({ state: 'DANCING' }), line({ id: '2', nodes: 'n[1-', name: 'sl-000000000002' }), line({ id: 'x', name: 'sl-000000000003' }), '1|2|3', ''].join('\n');
    const { jobs, ignored } = await listingOf(text);
    expect(jobs).toEqual([]);
    expect(ignored.map((i) => i.slotId)).toEqual(['sl-000000000001', 'sl-000000000002', 'sl-000000000003']);
    expect(ignored[0]?.why).toContain('DANCING');
  });

  test('of two jobs of a slot the live one counts, then the later; the other is named while it lives', async () => {
    const { jobs, others, ignored } = await listingOf([line({ id: '5', state: 'PENDING' }), line({ id: '7', state: 'FAILED' }), line({ id: '6', state: 'PENDING' })].join('\n'));
    expect(jobs.map((j) => j.jobId)).toEqual(['6']);
    expect(others?.map((j) => j.jobId).sort()).toEqual(['5', '7']);
    expect(ignored).toEqual([{ slotId: 'sl-000000000001', why: 'job 5 has the name of job 6 too' }]);
  });

  test('a job id that stands twice is nobody\'s', async () => {
    const { jobs, ignored } = await listingOf([line({}), line({ name: 'sl-000000000002' })].join('\n'));
    expect(jobs).toEqual([]);
    expect(ignored.map((i) => i.slotId)).toEqual(['sl-000000000001', 'sl-000000000002']);
  });

  test('ten thousand jobs', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => line({ id: String(i + 1), state: 'PENDING', priority: String(20_000 - i), name: `sl-${String(i).padStart(12, '0')}` }));
    const { jobs } = await listingOf(many.join('\n'));
    expect(jobs).toHaveLength(10_000);
    expect(jobs.at(-1)).toMatchObject({ jobId: '10000', position: 10_000 });
  });

  test('what is printed is read', () => {
    const job = fc.record({
      id: fc.integer({ min: 1, max: 999_999_999 }), priority: fc.nat(), restarts: fc.nat(3), start: fc.option(fc.nat()),
      state: fc.constantFrom('PENDING', 'RUNNING', 'COMPLETING', 'FAILED'), nodes: fc.constantFrom('', 'n1', 'n[1-3,7]', 'a,b[01-02]'), name: fc.stringMatching(/^sl-[0-9a-f]{12}$/),
    });
    fc.assert(fc.property(fc.uniqueArray(job, { selector: (j) => j.id, maxLength: 20 }), (jobs) => {
      const text = jobs.map((j) => line({ ...j, id: String(j.id), priority: String(j.priority), restarts: String(j.restarts), start: j.start === null ? 'N/A' : String(j.start) })).join('\n');
      const views = jobsOf(parseSqueue(text, 0).lines, 0);
      expect(views.map((v) => [v.jobId, v.slotId, v.native, v.requeued, v.hosts])).toEqual(jobs.map((j) => [String(j.id), j.name, j.state, j.restarts > 0, expandHosts(j.nodes)]));
    }));
  });

  test('no name of another user makes a job of ours, whatever is in it', () => {
    const nasty = fc.array(fc.constantFrom('\n', '|', '0', '1', 'N/A', 'RUNNING', 'main', 'sl-000000000009', 'None', ' ', 'é', '\u0000', '\r'), { maxLength: 60 }).map((p) => p.join(''));
    fc.assert(fc.property(fc.array(nasty, { maxLength: 8 }), (names) => {
      const text = names.map((name, i) => line({ id: String(100 + i), user: '1001', state: 'PENDING', name })).join('\n');
      const { lines, ignored } = parseSqueue(text, 0);
      expect(jobsOf(lines, 0)).toEqual([]);
      expect(ignored).toEqual([]);
    }));
  });

  test('garbage never throws and is no job', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
      expect(jobsOf(parseSqueue(text, 0).lines, 0)).toEqual([]);
    }));
    const whole = fixture('slurm-22.05/squeue.txt');
    const known = new Set(jobsOf(parseSqueue(whole, 0).lines, 0).map((j) => j.jobId));
    for (let cut = 0; cut < whole.length; cut += 7) {
      for (const job of jobsOf(parseSqueue(whole.slice(0, cut), 0).lines, 0)) expect(known).toContain(job.jobId);
    }
  });

  test('without a list nothing is known', async () => {
    const down = ran('', 1, 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)');
    expect(await lrmOf(tableRunner([ID, ['squeue', down]]), '').list()).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('Unable to contact') });
    expect(await lrmOf(tableRunner([['id -u', ran('root\n')]]), '').list()).toMatchObject({ kind: 'unavailable' });
    expect(await lrmOf(tableRunner([ID, ['squeue', ran('', null)]]), '').list()).toMatchObject({ kind: 'unavailable', reason: 'it was killed' });
  });
});

describe('sbatch', () => {
  test('options, each an argument; the credentials are on standard input only', async () => {
    const runner = tableRunner([['sbatch', ran('123;cluster\n')]]);
    const lrm = lrmOf(runner, '[slurm]\npartition = "p"\nqos = "q"\nreservation = "r"\nconstraint = "a&b"\noptions = ["--comment=a b; c"]\n');
    expect(await lrm.submit(jobRequest({ account: 'proj', parts: [part(3)] }))).toEqual({ kind: 'submitted', jobId: '123' });
    const [call] = runner.calls;
    expect(call?.argv).toEqual([
      'sbatch', '--parsable', '--job-name=sl-00000000abcd', '--nodes=3', '--ntasks=3', '--ntasks-per-node=1', '--cpus-per-task=2', '--exclusive', '--mem=0', '--time=63',
      '--no-requeue', '--no-kill', '--chdir=/', '--output=/dev/null', '--error=/dev/null', '--export=ALL',
      '--partition=p', '--account=proj', '--qos=q', '--reservation=r', '--constraint=a&b', '--comment=a b; c',
    ]);
    expect(call?.argv.join(' ')).not.toContain('s3cr3t');
    expect(call?.input).toContain('s3cr3t');
  });

  test('jobs that others displace: what is said of them goes before what is said of all, in each part', async () => {
    const toml = '[slurm]\npartition = "main"\nqos = "normal"\noptions = ["--comment=a"]\n[pilot_spot]\npartition = "low"\nnice = 1000\noptions = ["--switches=1"]\n';
    const runner = tableRunner([['sbatch', ran('124\n')]]);
    for (const spot of [true, false]) await lrmOf(runner, toml).submit(jobRequest({ spot, parts: [part(1), part(2)] }));
    const [low = [], usual = []] = runner.calls.map((call) => call.argv.filter((word) => /^--(?:partition|qos|nice|comment|switches)=/.test(word)));
    const each = ['--partition=low', '--qos=normal', '--nice=1000', '--comment=a', '--switches=1'];
    expect(low).toEqual([...each, ...each]);
    expect(usual.slice(0, 3)).toEqual(['--partition=main', '--qos=normal', '--comment=a']);
  });

  test('unlike parts are one heterogeneous job, with a srun for each', async () => {
    const runner = tableRunner([['sbatch', ran('7\n')]]);
    await lrmOf(runner, '[slurm]\nexclusive = false\n').submit(jobRequest({ parts: [part(1), part(2, { cores: 5, memoryMb: 999 })] }));
    const argv = runner.calls[0]?.argv ?? [];
    expect(argv.slice(argv.indexOf(':'))).toEqual(expect.arrayContaining(['--nodes=2', '--cpus-per-task=5', '--mem=999M', '--no-requeue', '--job-name=sl-00000000abcd']));
    expect(runner.calls[0]?.input?.match(/--het-group=[01]/g)).toEqual(['--het-group=0', '--het-group=1']);
  });

  test.each([
    ['sbatch: error: Batch job submission failed: Invalid partition name specified', 'rejected'],
    ['sbatch: error: Batch job submission failed: Requested node configuration is not available', 'rejected'],
    ['sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified', 'rejected'],
    ['sbatch: unrecognized option \'--bogus\'', 'rejected'],
    ['sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)', 'unknown'],
    ['sbatch: error: Batch job submission failed: Socket timed out on send/recv operation', 'unknown'],
    ['sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.', 'unknown'],
    ['', 'unknown'],
  ])('"%s" is %s', async (stderr, kind) => {
    expect(await lrmOf(tableRunner([['sbatch', ran('', 1, stderr)]]), '').submit(jobRequest())).toMatchObject({ kind });
  });

  test('an answer without a job id, none, and a missing command leave it open', async () => {
    for (const answer of [ran('Submitted\n'), ran('1\u001b[0m\n'), ran('', null), ran('', 127, 'sh: sbatch: not found')]) {
      expect(await lrmOf(tableRunner([['sbatch', answer]]), '').submit(jobRequest())).toMatchObject({ kind: 'unknown' });
    }
  });
});

describe('scancel and scontrol', () => {
  test('cancelled, gone, unknown', async () => {
    const cancel = (stderr: string, code: number | null = 0): Promise<unknown> => lrmOf(tableRunner([['scancel', ran('', code, stderr)]]), '').cancel('12');
    expect(await cancel('scancel: Terminating job 12')).toEqual({ kind: 'cancelled' });
    expect(await cancel('scancel: Terminating job 12\nscancel: error: Kill job error on job id 12: Invalid job id specified')).toEqual({ kind: 'gone' });
    expect(await cancel('scancel: error: Kill job error on job id 12: Access/permission denied')).toMatchObject({ kind: 'unknown' });
    expect(await cancel('', null)).toMatchObject({ kind: 'unknown' });
  });

  test('no word that is no job id or host reaches a command', async () => {
    const runner = tableRunner([]);
    const lrm = lrmOf(runner, '');
    for (const id of ['', '--signal=9', '1,2', '1_2', '-u root', '1\n2']) expect(await lrm.cancel(id)).toMatchObject({ kind: 'unknown' });
    for (const keep of [[], ['n1,n2'], ['-x'], ['n[1-2]']]) expect(await lrm.shrink?.('1', 0, keep)).toMatchObject({ kind: 'unknown' });
    expect(runner.calls).toEqual([]);
  });

  test('facts', async () => {
    const runner = tableRunner([['--version', ran('slurm-wlm 22.05.8\n')], ['show config', ran(fixture('slurm-22.05/show-config.txt'))], ['show partition', ran(fixture('slurm-22.05/show-partition.txt'))]]);
    expect(await lrmOf(runner, '').facts()).toEqual({
      lrm: 'slurm', flavour: 'slurm', version: '22.05.8', graceS: 4, nodes: 4, heterogeneous: true, shrinks: true, remembers: true, epilogue: null,
    });
    expect(await lrmOf(runner, '[slurm]\npartition = "other"\n').facts()).toMatchObject({ nodes: null });
    expect((await lrmOf(runner, '[pilot_spot]\npartition = "main"\n').facts()).spot).toEqual({ nodes: 4, preemptMode: 'OFF', graceS: 0 });
    expect((await lrmOf(runner, '[pilot_spot]\npartition = "other"\n').facts()).spot).toBeNull();
    await expect(lrmOf(tableRunner([]), '').facts()).rejects.toThrow(/sbatch.*not found/);
  });
});
