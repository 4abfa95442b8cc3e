/**
 * The way that is left where nodes reach the service by SSH only: `ssh -W` (ssh(1)) joins a stream with the service's listener, as
 * the SSH server sees it. What travels is the same as by the direct way, and proved in the same way: the server need only
 * let this key forward to that port.
 */
import { spawn } from 'node:child_process';
import type { RequestOptions } from 'node:http';
import { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../control/agent/clock.ts';
import { lastWords, nodeEnvironment } from './memory/command.ts';

export interface SshWay {
  readonly program: string;
  readonly credential: string | null;
  /** `[USER@]HOST` */
  readonly target: string;
  readonly port: number;
  /** HOST:PORT of the service's listener, as seen from `target`. */
  readonly listener: string;
}

const FORM = /^((?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(\d{1,5})\/([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?:\d{1,5})$/;
const MAX_WORDS = 2_000;

/** `[USER@]HOST:PORT/LISTENERHOST:LISTENERPORT`; undefined when it is none. */
export function parseSshWay(text: string): Pick<SshWay, 'target' | 'port' | 'listener'> | undefined {
  const [, target, port = '', listener = ''] = FORM.exec(text) ?? [];
  const isPort = (n: number): boolean => n >= 1 && n <= 65_535;
  if (target === undefined || !isPort(Number(port)) || !isPort(Number(listener.split(':')[1]))) return undefined;
  return { target, port: Number(port), listener };
}

/** How long nothing may come by a way: ssh by itself holds on to one that leads nowhere any more for a quarter of an hour. */
export interface Silence {
  readonly clock: Clock;
  readonly ms: number;
}

/** A stream to the listener; whatever keeps it from being one destroys it, with ssh's own words. */
export function connectThrough({ program, credential, target, port, listener }: SshWay, silence?: Silence): Duplex {
  const key = credential === null ? [] : ['-i', credential];
  const child = spawn(program, [...key, '-p', String(port), '-o', 'BatchMode=yes', '-W', listener, target], { stdio: 'pipe', cwd: '/', env: nodeEnvironment() });
  const stream = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk: Buffer, _encoding, done) => void child.stdin.write(chunk, done),
    final: (done) => void child.stdin.end(done),
    destroy(e, done) {
      watch?.cancel();
      child.kill();
      done(e);
    },
  });
  const watch = silence && watchSilence(silence, () => stream.destroy(new Error(`nothing came from ${target} for ${silence.ms / 1000} s`)));
  let said = '';
  child.stdin.on('error', () => undefined); // its end says why
  child.stdout.on('data', (chunk: Buffer) => {
    watch?.heard();
    if (!stream.push(chunk)) child.stdout.pause();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-MAX_WORDS); });
  child.once('error', (e: NodeJS.ErrnoException) => stream.destroy(new Error(`${program} cannot be run: ${e.code ?? e.message}`)));
  // Not when its output ends: the words come after it.
  child.once('close', (code) => {
    if (code === 0) stream.push(null);
    else stream.destroy(new Error(`${program} to ${target} ended with ${code ?? 'a signal'}: ${lastWords({ stdout: '', stderr: said })}`));
  });
  return stream;
}

function watchSilence({ clock, ms }: Silence, silent: () => void): { heard(): void; cancel(): void } {
  let heardAt = clock.monotonic();
  let timer: Timer;
  const watch = (): void => {
    const left = heardAt + ms - clock.monotonic();
    if (left <= 0) silent();
    else timer = clock.after(left, watch, true);
  };
  watch();
  return { heard: () => { heardAt = clock.monotonic(); }, cancel: () => timer.cancel() };
}

/** How a request goes by a stream of the caller's: with TLS in it where the URL asks for that. No agent: a stream serves once. */
export async function overStream(url: URL, connect: () => Duplex, { ca }: { readonly ca?: string }): Promise<Pick<RequestOptions, 'createConnection'>> {
  if (url.protocol !== 'https:') return { createConnection: connect };
  const tls = await import('node:tls');
  return { createConnection: () => tls.connect({ socket: connect(), servername: url.hostname, ...(ca === undefined ? {} : { ca }) }) };
}
