/** How programs of the node are run: argv, deadlines, process groups, pipes that somebody else holds. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { realClock as clock, sleep } from '../../../src/control/agent/clock.ts';
import { CommandError, runCommand } from '../../../src/pilot/program/memory/command.ts';
import { startTicksOf } from '../../../src/pilot/program/vms.ts';
import { within } from './fake-xl.ts';

const dir = mkdtempSync(join(tmpdir(), 'command-'));
const started: number[] = [];
afterAll(() => {
  for (const pid of started) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
});

const run = (argv: readonly string[], signal = within(60_000), input?: string): Promise<string> =>
  runCommand(argv, { clock, signal, ...(input === undefined ? {} : { input }) });

/** A signal that fires when the program has said in a file that it is under way. */
function onceWritten(name: string): AbortSignal {
  const controller = new AbortController();
  void pidIn(name).then(() => controller.abort());
  return controller.signal;
}

async function ended(pid: number): Promise<boolean> {
  const deadline = clock.monotonic() + 60_000;
  while ((await startTicksOf(pid)) !== null) {
    if (clock.monotonic() > deadline) return false;
    await sleep(clock, 5);
  }
  return true;
}

async function pidIn(name: string): Promise<number> {
  const deadline = clock.monotonic() + 60_000;
  for (;;) {
    try {
      const text = readFileSync(join(dir, name), 'utf8');
      if (text.endsWith('\n')) {
        started.push(Number(text));
        return Number(text);
      }
    } catch {
      // Not yet.
    }
    if (clock.monotonic() > deadline) throw new Error(`${name} was not written`);
    await sleep(clock, 5);
  }
}

describe('a program of the node', () => {
  it('gives its output and takes input; its words are arguments, not shell', async () => {
    expect(await run(['/bin/echo', '$HOME; false', '`id`'])).toBe('$HOME; false `id`\n');
    expect(await run(['/usr/bin/tee', join(dir, 'out')], undefined, '42\n')).toBe('42\n');
    expect(readFileSync(join(dir, 'out'), 'utf8')).toBe('42\n');
  });

  it('fails with its status and its last words, without control characters', async () => {
    await expect(run(['/bin/sh', '-c', 'printf "first\\n\\033[2Jlast\\n" >&2; exit 3'])).rejects.toThrow(/ended with status 3: first; {1,2}\[2Jlast$/);
    await expect(run(['/no/such/xl', 'list'])).rejects.toThrow('/no/such/xl cannot be run: ENOENT');
  });

  it('keeps a bounded part of what floods', async () => {
    expect((await run(['/usr/bin/head', '-c', '3000000', '/dev/zero'])).length).toBe(256 * 1024);
  });

  it('is ended with its children when the time is over', async () => {
    const script = `sleep 600 & echo $! > ${dir}/child; echo $$ > ${dir}/shell; wait`;
    await expect(run(['/bin/sh', '-c', script], onceWritten('shell'))).rejects.toThrow('did not end in time and was ended');
    expect(await ended(await pidIn('shell'))).toBe(true);
    expect(await ended(await pidIn('child'))).toBe(true);
  });

  it('is killed when it ignores SIGTERM', async () => {
    const script = `trap '' TERM; echo $$ > ${dir}/deaf; while :; do sleep 0.05; done`;
    const failure = await run(['/bin/sh', '-c', script], onceWritten('deaf')).catch((e: unknown) => e as CommandError);
    expect(failure).toBeInstanceOf(CommandError);
    expect((failure as CommandError).gone).toBeUndefined();
    expect(await ended(await pidIn('deaf'))).toBe(true);
  });

  it('is over when it ends, though a child of another session holds its output', async () => {
    const out = await run(['/bin/sh', '-c', `setsid sh -c 'echo $$ > ${dir}/holder; exec sleep 600' & while [ ! -s ${dir}/holder ]; do sleep 0.01; done; echo done`]);
    expect(out).toBe('done\n');
    expect(await startTicksOf(await pidIn('holder'))).not.toBeNull();
  });

  it('is not begun when the time is over already', async () => {
    await expect(runCommand(['/bin/touch', join(dir, 'never')], { clock, signal: AbortSignal.abort() })).rejects.toThrow('was not started');
  });
});
