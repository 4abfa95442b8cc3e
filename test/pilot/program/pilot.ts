/** The pilot as a batch system runs it: the bundled program in a process of its own, with a configuration and a node's places of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ENTRY = fileURLToPath(new URL('../../../src/pilot/program/main.ts', import.meta.url));
export const SLOT = 'sl-0123456789ab';
export const VERSION = '1.2.3';

/** One file, as `tools/build.mjs` makes it. */
export async function bundlePilot(dir: string): Promise<string> {
  const outfile = join(dir, 'workspace-pilot.cjs');
  await build({
    entryPoints: [ENTRY], outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs', minifySyntax: true, logLevel: 'error',
    logOverride: { 'empty-import-meta': 'silent' }, define: { __NIMBUS_VERSION__: JSON.stringify(VERSION) },
  });
  return outfile;
}

export type Sections = Readonly<Record<string, Readonly<Record<string, string | number | null>>>>;

/** A node's places below one directory, and what tests say to them. */
export class Node {
  readonly root = mkdtempSync(join(tmpdir(), 'pilot-'));
  readonly stateBase = join(this.root, 'state');
  readonly logs = join(this.root, 'logs');
  readonly pilots: Pilot[] = [];

  constructor(readonly program: string) {
    mkdirSync(this.logs);
  }

  /** null takes a key out. */
  config(change: Sections = {}): string {
    const base: Sections = {
      logging: { logfiledir: this.logs, logfileprefix: 'pilot-' },
      memory: { mechanism: 'none' },
      other: { earlywaitratio: 0.5, lockfile: join(this.root, 'lock'), statedir: this.stateBase, driver: 'simulated', forcehostname: 'node7', reservewait: 20 },
    };
    const names = [...new Set([...Object.keys(base), ...Object.keys(change)])];
    const text = names.map((name) => {
      const keys = Object.entries({ ...base[name], ...change[name] }).filter(([, v]) => v !== null);
      return `[${name}]\n${keys.map(([key, v]) => `${key}: ${v ?? ''}\n`).join('')}`;
    }).join('\n');
    const file = join(this.root, `pilot-${readdirSync(this.root).length}.conf`);
    writeFileSync(file, text);
    return file;
  }

  /** For `[other] agentconfig`: simulated guests that do not power down when they are asked to. */
  obstinate(): string {
    const file = join(this.root, 'agent.json');
    writeFileSync(file, JSON.stringify({ simulated: { startMs: 0, stopMs: 0, powerDownMs: null } }));
    return file;
  }

  start(args: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}): Pilot {
    const pilot = new Pilot(this.program, args, input, env);
    this.pilots.push(pilot);
    return pilot;
  }

  reserve(options: { memory?: number; duration?: number; grace?: number; config?: Sections; args?: readonly string[]; credentials?: unknown; env?: NodeJS.ProcessEnv } = {}): Pilot {
    const { memory = 64, duration = 600, grace = 20, config, args = [], credentials, env } = options;
    const whom = credentials === undefined ? [] : ['--credentials', '-'];
    return this.start(
      ['--reserveslot', '-m', `${memory}`, '-d', `${duration}`, '-g', `${grace}`, '-i', SLOT, '-p', this.config(config), '-s', '-v', ...whom, ...args],
      credentials === undefined ? undefined : `${JSON.stringify(credentials)}\n`, env,
    );
  }

  /** Slots' directories that are still there. */
  left(): string[] {
    return existsSync(this.stateBase) ? readdirSync(this.stateBase).filter((f) => f !== 'cache') : [];
  }

  log(): string {
    return readdirSync(this.logs).map((f) => readFileSync(join(this.logs, f), 'utf8')).join('');
  }

  agentDir(): string {
    return join(this.stateBase, `${SLOT}.node7`, 'control');
  }

  async remove(): Promise<void> {
    await Promise.all(this.pilots.map((p) => p.kill()));
    rmSync(this.root, { recursive: true, force: true });
  }
}

export class Pilot {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  output = '';
  stderr = '';
  #listeners = new Set<() => void>();
  #over = false;

  constructor(program: string, args: readonly string[], input: string | undefined, env: NodeJS.ProcessEnv) {
    const clean = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(SLURM|PBS)/.test(key)));
    this.child = spawn(process.execPath, [program, ...args], { env: { ...clean, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin.on('error', () => undefined);
    if (input !== undefined) this.child.stdin.write(input);
    this.child.stdout.on('data', (chunk: Buffer) => this.#said(() => { this.output += chunk.toString(); }));
    this.child.stderr.on('data', (chunk: Buffer) => this.#said(() => { this.stderr += chunk.toString(); }));
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => {
      this.#said(() => { this.#over = true; });
      resolve(code ?? signal ?? 'unknown');
    }));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Resolves when standard output holds `text`; rejects when the pilot ends without. */
  says(text: string | RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = typeof text === 'string' ? this.output.includes(text) : text.test(this.output);
        if (!found && !this.#over) return;
        this.#listeners.delete(look);
        if (found) resolve();
        else reject(new Error(`the pilot ended without saying ${String(text)}:\n${this.output}${this.stderr}`));
      };
      this.#listeners.add(look);
      look();
    });
  }

  async kill(): Promise<void> {
    if (!this.#over) this.child.kill('SIGKILL');
    await this.ended;
  }

  #said(change: () => void): void {
    change();
    for (const listener of [...this.#listeners]) listener();
  }
}
