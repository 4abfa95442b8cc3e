/** An agent beside the service: a child process in a session of its own, spoken to through pipes. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { firstSilent } from '../../platform/answering.ts';
import type { Clock, Context } from '../../platform/context.ts';
import { replaceFileAsync } from '../../platform/durable.ts';
import { errorCode } from '../../platform/errors.ts';
import { makeDirectoryAsync } from '../../platform/make-directory.ts';
import { mergedSettings } from '../agent-settings.ts';
import type { NodeAccess } from '../types.ts';
import { logStderr } from './stderr.ts';
import type { AgentLink, Transport } from './transport.ts';

/** What an agent may know of the service's environment; the rest may hold secrets. */
const ENVIRONMENT = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TMPDIR'] as const;
/** From the end of its output to its own end. */
const LET_GO_MS = 1_000;
/** A silent agent is asked to go, then made to. */
const KILL_AFTER_MS = 1_000;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

export function localTransport(ctx: Context, access: NodeAccess & { transport: 'local' }, agentProgram: string): Transport {
  return {
    describe: `local agent in ${access.stateDir}`,
    lateReason: `the file system of ${access.stateDir} does not answer; see that it can be listed (is its server there?)`,
    async open(signal) {
      // Asked by a process that can be given up: a call of this one would keep a thread, and this process from its end.
      const late = aborted(signal);
      await firstSilent([access.stateDir], late);
      const config = await Promise.race([prepare(access), late]);
      signal.throwIfAborted();
      const args = [agentProgram, 'serve', '--state', access.stateDir, '--driver', access.driver];
      // Its own session: a signal to the service's process group does not reach the agent or its VMs.
      const child = spawn(process.execPath, config === undefined ? args : [...args, '--config', config], {
        // Not the state directory: a start waits until its process has gone there.
        cwd: '/',
        detached: true,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: Object.fromEntries(ENVIRONMENT.flatMap((k) => (process.env[k] === undefined ? [] : [[k, process.env[k]]]))),
      });
      await started(child);
      return linkTo(child, ctx);
    },
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

/** Its directory, and its settings: it reads them from a file, replaced so that one that starts meanwhile reads a whole one. */
async function prepare(access: NodeAccess & { transport: 'local' }): Promise<string | undefined> {
  await makeDirectoryAsync(access.stateDir, 0o700);
  if (access.agentConfig === undefined) return undefined;
  const file = join(access.stateDir, 'agent.json');
  const before = await readFile(file, 'utf8').catch((e: unknown) => {
    if (errorCode(e) === 'ENOENT') return undefined;
    throw e;
  });
  await replaceFileAsync(file, `${JSON.stringify(mergedSettings(before, access.agentConfig, file), null, 2)}\n`, 0o600);
  return file;
}

function started(child: Child): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (e) => reject(new Error(`the agent does not start: ${e.message}`, { cause: e })));
  });
}

function linkTo(child: Child, { clock, log }: Context): AgentLink {
  const stderr = logStderr(child.stderr, clock, log);
  child.once('exit', () => stderr.ended());
  // Writing to an agent that just died is no event of its own: its exit is.
  child.stdin.on('error', () => undefined);
  child.stdout.on('error', () => undefined);
  let letGo: () => void = () => undefined;
  const ended = new Promise<string>((resolve) => {
    letGo = () => resolve('the agent was let go of');
    // 'close' and not 'exit': what the agent said last is read first.
    child.once('close', (code, signal) => {
      const how = signal === null ? `the agent exited with code ${code ?? '?'}` : `the agent was ended by ${signal}`;
      const words = stderr.lastWords();
      resolve(words === undefined ? how : `${how}: ${words}`);
    });
  });
  let closed = false;
  return {
    readable: child.stdout,
    writable: child.stdin,
    ended,
    lastWords: () => stderr.lastWords(),
    close(how) {
      if (closed) return;
      closed = true;
      // An agent whose input ends goes by itself, unless other programs on the node, such as a second service, still use it.
      // Then it ends its output all the same, and this process does not wait for its end for long.
      child.stdout.once('close', () => {
        const timer = clock.after(LET_GO_MS, letGo);
        child.once('close', () => timer.cancel());
      });
      child.stdin.end();
      for (const handle of [child, child.stdout, child.stderr] as ReadonlyArray<{ unref?(): void }>) handle.unref?.();
      if (how === 'broken') kill(child, clock);
    },
  };
}

function kill(child: Child, clock: Clock): void {
  child.kill('SIGTERM');
  const timer = clock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'), true);
  child.once('exit', () => timer.cancel());
}
