/** Job scripts, run by a real shell with programs that stand for srun, a launcher and the pilot. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { pbsScript } from '../../../src/pilot/lrm/pbs/script.ts';
import { quote, withInput } from '../../../src/pilot/lrm/shell.ts';
import { slurmScript } from '../../../src/pilot/lrm/slurm/script.ts';
import { parseConfig } from '../../../src/platform/config.ts';
import { jobRequest, part } from './support.ts';

let dir: string;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'lrm-script-')); });
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function program(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}
const output = (script: string, env: Record<string, string> = {}): string => {
  const { stdout, stderr, status } = spawnSync('/bin/sh', [], { input: script, env: { PATH: process.env['PATH'] ?? '', ...env }, encoding: 'utf8' });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout;
};
const printableText = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((s) => !/[\x00-\x1f\x7f]/.test(s) && Buffer.from(s).toString() === s);
const asciiLine = fc.string({ unit: 'grapheme-ascii', maxLength: 80 }).filter((s) => !/[\x00-\x1f\x7f]/.test(s));

describe('words and credentials', () => {
  test('reach the pilot as they are, whatever is in them', () => {
    const echo = program('echo', 'printf "<%s>" "$@"; cat');
    fc.assert(fc.property(fc.array(printableText, { maxLength: 4 }), asciiLine, (words, text) => {
      fc.pre(text !== 'NIMBUS_CREDENTIALS');
      expect(output(`${withInput(['exec', echo, 'first', ...words], text)}\n`)).toBe(`${['first', ...words].map((w) => `<${w}>`).join('')}${text}\n`);
    }), { numRuns: 40 });
  });

  test('no control character, no second line, no end of the here-document', () => {
    expect(() => withInput(['x'], 'N\u030c')).toThrow(/ASCII/);
    for (const bad of ['a\nb', 'a\rb', '\u0000', '\u001b[0m', '\u007f']) {
      expect(() => quote(bad)).toThrow(/control character/);
      expect(() => withInput(['x'], bad)).toThrow(/one line/);
    }
    expect(() => withInput(['x'], 'NIMBUS_CREDENTIALS')).toThrow(/one line/);
  });

  test('each part of a heterogeneous job has a srun of its own with the credentials, and the script waits for all', () => {
    const srun = program('srun', `read -r line; echo "$1 $line" >> ${join(dir, 'said')}`);
    output(slurmScript(srun, [part(1), part(2)], '{"a":"it\'s"}'));
    expect(readFileSync(join(dir, 'said'), 'utf8').split('\n').sort()).toEqual(['', '--het-group=0 {"a":"it\'s"}', '--het-group=1 {"a":"it\'s"}']);
  });
});

describe('Torque and OpenPBS', () => {
  const settings = (launcher: string, more = ''): ReturnType<typeof parseConfig>['pbs'] =>
    parseConfig(`[pbs]\nlauncher = ["${launcher}"]\nshared_directory = "${dir}/shared/"\n${more}`, 'test.toml').pbs;
  /** Runs its words once as each of the nodes. */
  const launcher = (...nodes: string[]): string => {
    // `hostname` says which node it is.
    program('hostname', 'echo "$NODE"');
    return program('launcher', `pids=\nfor NODE in ${nodes.join(' ')}; do export NODE; "$@" & pids="$pids $!"; done\nwait`);
  };
  const env = (): Record<string, string> => ({ PATH: `${dir}:${process.env['PATH'] ?? ''}` });
  beforeEach(() => mkdirSync(join(dir, 'shared')));

  test('one node: the script becomes the pilot', () => {
    expect(output(pbsScript(settings('none'), jobRequest({ parts: [part(1, { argv: ['/bin/cat', '-'] })] })))).toBe('{"secret":"s3cr3t"}\n');
  });

  test('a launcher that hands on its standard input', () => {
    const all = program('all', 'exec "$@"');
    expect(output(pbsScript(settings(all, 'launcher_stdin = true'), jobRequest({ parts: [part(2, { argv: ['cat'] })] })))).toBe('{"secret":"s3cr3t"}\n');
  });

  test('one that does not: each node reads a file that is its user\'s alone, and nothing stays', () => {
    const pilot = program('pilot', `read -r line; echo "$(hostname) $1 $line $(stat -c %a ${dir}/shared/sl-00000000abcd)" >> ${dir}/said`);
    output(pbsScript(settings(launcher('n1', 'n2')), jobRequest({ parts: [part(2, { argv: [pilot, 'a\'b $HOME'] })] })), env());
    expect(readFileSync(join(dir, 'said'), 'utf8').split('\n').sort()).toEqual(['', 'n1 a\'b $HOME {"secret":"s3cr3t"} 600', 'n2 a\'b $HOME {"secret":"s3cr3t"} 600']);
    expect(readdirSync(join(dir, 'shared'))).toEqual([]);
  });

  test('unlike parts: a node is of the part that asked for its number of processors, each part has its nodes', () => {
    const pilot = program('pilot', `echo "$(hostname) part $1" >> ${dir}/said`);
    writeFileSync(join(dir, 'nodes'), ['n3.example', 'n3.example', 'n1', 'n2', 'n2', 'n4', ''].join('\n'));
    const parts = [part(1, { cores: 1, argv: [pilot, '0'] }), part(2, { cores: 2, argv: [pilot, '1'] }), part(1, { cores: 1, argv: [pilot, '2'] })];
    output(pbsScript(settings(launcher('n1', 'n2', 'n3.example', 'n4')), jobRequest({ parts })), { ...env(), PBS_NODEFILE: join(dir, 'nodes') });
    expect(readFileSync(join(dir, 'said'), 'utf8').split('\n').sort()).toEqual(['', 'n1 part 0', 'n2 part 1', 'n3.example part 1', 'n4 part 2']);
    expect(readdirSync(join(dir, 'shared'))).toEqual([]);
  });

  test('SIGTERM ends the launcher; the script stays until the last pilot is gone', async () => {
    const pilot = program('pilot', `trap 'while [ ! -e ${dir}/go ]; do sleep 0.05; done; echo over > ${dir}/over; exit 5' TERM\ntouch ${dir}/ready\nwhile :; do sleep 0.05; done`);
    const script = pbsScript(settings(launcher('n1')), jobRequest({ parts: [part(2, { argv: [pilot] })] }));
    const child: ChildProcess = spawn('/bin/sh', [], { env: env(), stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    try {
      child.stdin?.end(script);
      const ended = once(child, 'exit');
      await vi.waitFor(() => readFileSync(join(dir, 'ready')), { timeout: 60_000 });
      // As pbs_mom does: every process of the job.
      process.kill(-(child.pid ?? 0), 'SIGTERM');
      await vi.waitFor(() => expect(launchers()).toEqual([]), { timeout: 60_000 });
      expect(child.exitCode).toBeNull();
      writeFileSync(join(dir, 'go'), '');
      await ended;
      expect(readFileSync(join(dir, 'over'), 'utf8')).toBe('over\n');
      expect(readdirSync(join(dir, 'shared'))).toEqual([]);
    } finally {
      try { process.kill(-(child.pid ?? 0), 'SIGKILL'); } catch { /* It has ended. */ }
    }
  });

  const launchers = (): string[] => readdirSync('/proc').filter((d) => {
    try {
      return readFileSync(`/proc/${d}/cmdline`, 'latin1').split('\0').includes(join(dir, 'launcher'));
    } catch {
      return false; // It ended meanwhile.
    }
  });
});
