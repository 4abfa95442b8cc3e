import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as columns from '../../../src/pilot/lrm/pbs/columns.ts';
import { hostsOf, jobsOf } from '../../../src/pilot/lrm/pbs/jobs.ts';
import { clockTime } from '../../../src/pilot/lrm/pbs/submit.ts';
import type { JobView, Lrm } from '../../../src/pilot/lrm/types.ts';
import { fixture, jobRequest, listed, lrmOf, part, ran, tableRunner } from './support.ts';

const PBS = '[pilot]\nlrm = "pbs"\n';
const TORQUE = [['qstat --version', ran('', 0, fixture('torque-6/version.txt'))], ['id -un', ran('nimbus\n')]] as const;
const OPENPBS = [['qstat --version', ran(fixture('openpbs-23/version.txt'))], ['id -un', ran('nimbus\n')]] as const;
const SLURM = [['qstat --version', ran('', 2, fixture('slurm-torque/qstat-version.txt'))], ['id -un', ran('root\n')]] as const;

const short = (jobs: readonly JobView[]): unknown[] => jobs.map((j) => [j.jobId, j.state, j.native, j.position, j.hosts.join(' '), j.reason]);

describe('qstat -f', () => {
  test('Torque: states, places, wrapped lists of hosts, how jobs ended', async () => {
    const { jobs, ignored } = await listed(lrmOf(tableRunner([...TORQUE, ['qstat -f', ran(fixture('torque-6/qstat-f.txt'))]]), PBS));
    const id = (n: number): string => `${n}.head.cluster.example`;
    expect(short(jobs)).toEqual([
      [id(4102), 'running', 'R', null, 'n02 n03 n04', null],
      [id(4105), 'queued', 'Q', 2, '', 'Not Running: Not enough of the right type of nodes are available'],
      [id(4106), 'held', 'H', null, '', null],
      [id(4107), 'cancelled', 'C', null, 'n05', 'exit status 271'],
      [id(4108), 'done', 'C', null, 'n05', 'exit status 0'],
      [id(4109), 'ending', 'E', null, 'n06.cluster.example', null],
      [id(4110), 'queued', 'Q', 3, '', null],
    ]);
    expect(jobs.map((j) => j.requeued)).toEqual([false, false, false, false, false, false, true]);
    expect(ignored).toEqual([]);
  });

  test('OpenPBS', async () => {
    const { jobs } = await listed(lrmOf(tableRunner([...OPENPBS, ['qstat -f', ran(fixture('openpbs-23/qstat-f.txt'))]]), PBS));
    expect(short(jobs)).toEqual([
      ['311.pbs', 'running', 'R', null, 'n01 n02', 'Job run at Mon Nov 06 at 09:12 on (n01:ncpus=4:mem=2097152kb)+(n02:ncpus=4:mem=2097152kb)'],
      ['312.pbs', 'queued', 'Q', 2, '', 'Not Running: Node is in an ineligible state: down'],
      ['313.pbs', 'failed', 'F', null, 'n03', 'exit status 1'],
    ]);
  });

  test('a list in which users have put lines: forged, doubled, mangled and cut-off jobs are ignored, and named where they bear a name of ours', async () => {
    const { jobs, ignored } = await listed(lrmOf(tableRunner([...TORQUE, ['qstat -f', ran(fixture('torque-6/qstat-f-hostile.txt'))]]), PBS));
    expect(short(jobs)).toEqual([['5009.head', 'queued', 'Q', 1, '', 'Not Running: [31mred turned text']]);
    expect(ignored.map((i) => [i.slotId, i.why.slice(0, 50)])).toEqual([
      ['sl-00000000b001', 'job 5002.head is of another user than its owner'],
      ['sl-00000000b002', 'in the list\'s block of job 5003.head job_state sta'],
      ['sl-00000000b004', '"5005.head; rm -rf /" is no job id'],
      ['sl-00000000b005', 'the hosts of job 5006.head cannot be read: n02/0+$'],
      ['sl-00000000b006', 'job 5007.head is in the state "Z", which is not kn'],
      ['sl-00000000b007', 'job 5008.head stands in the list 2 times'],
      ['sl-00000000b008', 'job 5008.head stands in the list 2 times'],
    ]);
  });

  test('ten thousand jobs', async () => {
    const text = Array.from({ length: 10_000 }, (_, i) => `Job Id: ${i + 1}.s\n    Job_Name = sl-${String(i).padStart(12, '0')}\n    Job_Owner = nimbus@h\n    job_state = Q\n    queue = b\n    Variable_List = ${'A=b,'.repeat(200)}\n\n`).join('');
    const { jobs } = await listed(lrmOf(tableRunner([...TORQUE, ['qstat -f', ran(text)]]), PBS));
    expect(jobs).toHaveLength(10_000);
    expect(jobs.at(-1)?.position).toBe(10_000);
  });

  test('what is printed is read, wherever lines are wrapped', () => {
    const host = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
    const job = fc.record({ id: fc.integer({ min: 1, max: 1e9 }), name: fc.stringMatching(/^sl-[0-9a-f]{12}$/), letter: fc.constantFrom('R', 'E', 'S'), hosts: fc.uniqueArray(host, { minLength: 1, maxLength: 9 }), width: fc.integer({ min: 5, max: 80 }) });
    fc.assert(fc.property(fc.uniqueArray(job, { selector: (j) => j.id, maxLength: 8 }), (jobs) => {
      const text = jobs.map((j) => {
        const list = j.hosts.map((h) => `${h}/0+${h}/1`).join('+').match(new RegExp(`.{1,${j.width}}`, 'g'))?.join('\n\t') ?? '';
        return `Job Id: ${j.id}.s\n    Job_Name = ${j.name}\n    Job_Owner = nimbus@h\n    job_state = ${j.letter}\n    exec_host = ${list}\n\n`;
      }).join('');
      expect(jobsOf(text, 'nimbus').jobs.map((v) => [v.jobId, v.slotId, v.native, v.hosts])).toEqual(jobs.map((j) => [`${j.id}.s`, j.name, j.letter, j.hosts]));
    }));
  });

  test('garbage and lists cut anywhere never throw, and give no job that is not there', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      expect(jobsOf(text, 'nimbus').jobs).toEqual([]);
      expect(columns.jobsOf(text).jobs).toEqual([]);
    }));
    const whole = fixture('torque-6/qstat-f.txt');
    const known = new Set(jobsOf(whole, 'nimbus').jobs.map((j) => j.jobId));
    for (let cut = 0; cut < whole.length; cut += 11) for (const job of jobsOf(whole.slice(0, cut), 'nimbus').jobs) expect(known).toContain(job.jobId);
  });

  test.each([['n1/0-3+n2/0*4', ['n1', 'n2']], ['n1', ['n1']], ['n1/0,2-3', ['n1']], ['', []], ['n1+', undefined], ['n1/0+;x', undefined]])('hosts of "%s"', (text, hosts) => {
    expect(hostsOf(text)).toEqual(hosts);
  });
});

describe('Slurm\'s qstat', () => {
  test('a recorded list of one user', async () => {
    const runner = tableRunner([...SLURM, ['qstat -n -1 -u root', ran(fixture('slurm-torque/qstat-n-1-u.txt'))]]);
    const { jobs } = await listed(lrmOf(runner, PBS));
    expect(jobs.map((j) => [j.slotId, j.jobId, j.state, j.hosts.join(' ')])).toEqual([
      ['sl-0123456789a1', '24', 'done', 'node1 node4'], ['sl-000000000001', '25', 'running', 'node1 node2'], ['sl-000000000002', '27', 'running', 'node4'],
      ['sl-000000000003', '29', 'queued', ''], ['sl-000000000004', '30', 'queued', ''], ['sl-000000000005', '32', 'queued', ''], ['sl-000000000006', '34', 'queued', ''],
      ['sl-000000000007', '35', 'done', ''],
    ]);
  });
});

describe('qsub', () => {
  test('Torque and OpenPBS: one list of resources, memory of the whole job, the script on standard input', async () => {
    const runner = tableRunner([...TORQUE, ['qsub', ran('4200.head.cluster.example\n')]]);
    const lrm = lrmOf(runner, `${PBS}[pbs]\nqueue = "batch"\nproperties = "vt:fast"\noptions = ["-W", "x=y"]\nlauncher_stdin = true\n`);
    expect(await lrm.submit(jobRequest({ account: 'proj', parts: [part(3)], walltimeS: 360_061 }))).toEqual({ kind: 'submitted', jobId: '4200.head.cluster.example' });
    expect(runner.calls.at(-1)?.argv).toEqual([
      'qsub', '-N', 'sl-00000000abcd', '-j', 'oe', '-o', '/dev/null', '-r', 'n', '-m', 'n', '-q', 'batch', '-A', 'proj',
      '-l', 'nodes=3:ppn=2:vt:fast,walltime=100:01:01,mem=768mb', '-W', 'x=y',
    ]);
    expect(runner.calls.at(-1)?.input).toContain('s3cr3t');
  });

  test('jobs that others displace: their queue, their priority, their options beside those of all', async () => {
    const toml = `${PBS}[pbs]\nqueue = "batch"\noptions = ["-W", "x=y"]\n[pilot_spot]\nqueue = "low"\npriority = -200\noptions = ["-W", "x=PARTITION:spare"]\n`;
    const runner = tableRunner([...TORQUE, ['qsub', ran('4201.head\n')]]);
    for (const spot of [true, false]) await lrmOf(runner, toml).submit(jobRequest({ spot }));
    const [low = [], usual = []] = runner.calls.filter((call) => call.argv[0] === 'qsub').map((call) => call.argv);
    expect(low.slice(11)).toEqual(['-q', 'low', '-p', '-200', '-l', 'nodes=1:ppn=2,walltime=01:03:00,mem=256mb', '-W', 'x=y', '-W', 'x=PARTITION:spare']);
    expect(usual.slice(11)).toEqual(['-q', 'batch', '-l', 'nodes=1:ppn=2,walltime=01:03:00,mem=256mb', '-W', 'x=y']);
  });

  test('Slurm\'s: memory of a node, options for sbatch instead of a script\'s name, nothing for a shell, no unlike parts', async () => {
    const runner = tableRunner([...SLURM, ['qsub', ran('12\n')]]);
    expect(await lrmOf(runner, `${PBS}[pbs]\nppn = 4\n`).submit(jobRequest({ parts: [part(3)] }))).toEqual({ kind: 'submitted', jobId: '12' });
    expect(runner.calls.at(-1)?.argv.slice(-6)).toEqual(['-l', 'nodes=3:ppn=4,walltime=01:03:00,mem=256mb', '--', '--no-kill', '--chdir=/', '--export=ALL']);
    expect(runner.calls.at(-1)?.input).toMatch(/^exec srun --nodes=3 /m);
    const calls = runner.calls.length;
    expect(await lrmOf(runner, `${PBS}[pbs]\noptions = ["-W", "a;reboot"]\n`).submit(jobRequest())).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('a;reboot') });
    expect(await lrmOf(runner, PBS).submit(jobRequest({ parts: [part(1), part(2)] }))).toMatchObject({ kind: 'rejected' });
    expect(runner.calls.slice(calls).filter((c) => c.argv[0] === 'qsub')).toEqual([]);
  });

  test('refusals and what may be taken', async () => {
    const submit = (answer: ReturnType<typeof ran>): Promise<unknown> => lrmOf(tableRunner([...TORQUE, ['qsub', answer]]), PBS).submit(jobRequest());
    expect(await submit(ran('', 170, 'qsub: submit error (Unknown queue MSG=cannot locate queue)'))).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('Unknown queue') });
    expect(await submit(ran('', 188, 'qsub: submit error (Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement)'))).toMatchObject({ kind: 'rejected' });
    expect(await submit(ran('', 15033, 'qsub: submit error (Batch protocol error, Connection timed out)'))).toMatchObject({ kind: 'unknown' });
    expect(await submit(ran('', 111, 'qsub: cannot connect to server head (errno=111) Connection refused'))).toMatchObject({ kind: 'unknown' });
    expect(await submit(ran('what\n'))).toMatchObject({ kind: 'unknown' });
    const refused = await lrmOf(tableRunner([...SLURM, ['qsub', ran(fixture('slurm-torque/qsub-refused.txt'), 1)]]), PBS).submit(jobRequest());
    expect(refused).toEqual({ kind: 'rejected', reason: 'qsub: invalid partition specified: nosuch; Batch job submission failed: Invalid partition name specified' });
  });

  test('several nodes without a way for the credentials are refused with what to set', async () => {
    const answer = await lrmOf(tableRunner([...TORQUE]), PBS).submit(jobRequest({ parts: [part(2)] }));
    expect(answer).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('pbs.shared_directory') });
  });

  test('hours have as many digits as they need', () => {
    fc.assert(fc.property(fc.nat(10_000_000), (s) => {
      const [h = 0, m = 0, sec = 0] = clockTime(s).split(':').map(Number);
      expect(h * 3600 + m * 60 + sec).toBe(s);
      expect(clockTime(s)).toMatch(/^\d{2,}:[0-5]\d:[0-5]\d$/);
    }));
  });
});

describe('qdel and facts', () => {
  const cancel = (lrm: Lrm): Promise<unknown> => lrm.cancel('12.head');

  test('cancelled, gone, unknown', async () => {
    expect(await cancel(lrmOf(tableRunner([...TORQUE, ['qdel', ran('')]]), PBS))).toEqual({ kind: 'cancelled' });
    expect(await cancel(lrmOf(tableRunner([...TORQUE, ['qdel', ran('', 153, 'qdel: Unknown Job Id Error 12.head')]]), PBS))).toEqual({ kind: 'gone' });
    expect(await cancel(lrmOf(tableRunner([...OPENPBS, ['qdel', ran('', 35, 'qdel: Job has finished 12.head')]]), PBS))).toEqual({ kind: 'gone' });
    expect(await cancel(lrmOf(tableRunner([...TORQUE, ['qdel', ran('', 1)]]), PBS))).toMatchObject({ kind: 'unknown' });
    expect(await cancel(lrmOf(tableRunner([...SLURM, ['qdel', ran('', 1)]]), PBS))).toEqual({ kind: 'gone' });
    expect(await lrmOf(tableRunner([]), PBS).cancel('-p')).toMatchObject({ kind: 'unknown' });
  });

  test('Torque and OpenPBS: the queue\'s delay before SIGKILL wins over the server\'s', async () => {
    const server = (dir: string): Array<readonly [string, ReturnType<typeof ran>]> => [
      ['qstat -B -f', ran(fixture(`${dir}/qstat-B-f.txt`))], ['qstat -Q -f', ran(fixture(`${dir}/qstat-Q-f.txt`))], ['qsub --version', ran('')], ['qdel --version', ran('')],
    ];
    expect(await lrmOf(tableRunner([...TORQUE, ...server('torque-6')]), PBS).facts()).toEqual({
      lrm: 'pbs', flavour: 'torque', version: '6.1.2', graceS: 12, nodes: null, heterogeneous: false, shrinks: false, remembers: true, epilogue: 'unknown',
    });
    expect(await lrmOf(tableRunner([...TORQUE, ...server('torque-6')]), `${PBS}[pbs]\nqueue = "long"\nshared_directory = "/home/x"\n`).facts()).toMatchObject({ graceS: 60, heterogeneous: true });
    expect(await lrmOf(tableRunner([...OPENPBS, ...server('openpbs-23')]), PBS).facts()).toMatchObject({ flavour: 'openpbs', version: '23.06.06', graceS: 20, remembers: false });
  });

  test('commands that are none of the known, and none at all', async () => {
    await expect(lrmOf(tableRunner([['qstat --version', ran('GE 8.1.9')], ['id -un', ran('u')]]), PBS).facts()).rejects.toThrow(/GE 8\.1\.9/);
    await expect(lrmOf(tableRunner([]), PBS).facts()).rejects.toThrow(/not found/);
    expect(await lrmOf(tableRunner([]), PBS).list()).toMatchObject({ kind: 'unavailable' });
    expect(await lrmOf(tableRunner([]), PBS).submit(jobRequest())).toMatchObject({ kind: 'unknown' });
  });
});
