/** The agent as a program: bundled as for release, started as a child, spoken to through its pipes. */
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { AgentHello, AgentLine, AgentRequest, Done, Protocol } from '../../../src/control/protocol.ts';
import { encodeLine, lineReader } from '../../../src/control/wire.ts';

const ENTRY = fileURLToPath(new URL('../../../src/control/agent/main.ts', import.meta.url));

/** One file, as `tools/build.mjs` makes it, that believes to be `version`. */
export async function bundle(dir: string, version = '1.0.0'): Promise<string> {
  const outfile = join(dir, `workspace-control ${version}.cjs`);
  if (!existsSync(outfile)) {
    await build({
      entryPoints: [ENTRY], outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs', minifySyntax: true, logLevel: 'error',
      logOverride: { 'empty-import-meta': 'silent' }, define: { __NIMBUS_VERSION__: JSON.stringify(version) },
    });
  }
  return outfile;
}

const running = new Set<Agent>();

/** For `afterEach`: kills what a test left running and waits for its end. */
export async function killAgents(): Promise<void> {
  await Promise.all([...running].map((a) => a.kill()));
}

export class Agent {
  readonly child: ChildProcessWithoutNullStreams;
  readonly lines: AgentLine[] = [];
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  stderr = '';
  /** Whole output, byte for byte. */
  output = '';
  #listeners = new Set<() => void>();

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env, options: { detached?: boolean } = {}) {
    this.child = spawn(process.execPath, [program, ...args], { env, ...options });
    running.add(this);
    const push = lineReader(
      (text) => { if (text.startsWith('{"')) this.lines.push(JSON.parse(text) as AgentLine); },
      () => this.child.kill('SIGKILL'),
    );
    this.child.stdin.on('error', () => undefined);
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
      push(chunk);
      for (const listener of [...this.#listeners]) listener();
    });
    this.child.stderr.on('data', (chunk: Buffer) => { this.stderr += chunk.toString(); });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => {
      running.delete(this);
      resolve(code ?? signal ?? 'unknown');
      for (const listener of [...this.#listeners]) listener();
    }));
  }

  send(line: unknown): void {
    this.child.stdin.write(encodeLine(line));
  }

  /** The first line, past or to come, of which `pick` makes something. */
  wait<T>(pick: (line: AgentLine) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        for (const line of this.lines) {
          const picked = pick(line);
          if (picked === undefined) continue;
          this.#listeners.delete(look);
          return resolve(picked);
        }
        if (this.child.exitCode !== null || this.child.signalCode !== null) {
          this.#listeners.delete(look);
          reject(new Error(`the agent ended: ${this.stderr}`));
        }
      };
      this.#listeners.add(look);
      look();
    });
  }

  async open(protocol: Protocol = 2): Promise<AgentHello> {
    const hello = await this.wait((line) => ('hello' in line ? line.hello : undefined));
    this.send({ hello: { program: 'nimbus', version: '1.0.0', protocol } });
    return hello;
  }

  async ask(request: AgentRequest): Promise<Done> {
    this.send({ do: [request] });
    return this.answer(request.id);
  }

  answer(id: string): Promise<Done> {
    return this.wait((line) => ('done' in line ? [line.done].flat().find((d) => d.id === id) : undefined));
  }

  /** As a service that goes: end of input. */
  async leave(): Promise<number | string> {
    this.child.stdin.end();
    return this.ended;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

export function serveArgs(state: string, config: Record<string, unknown> = {}): string[] {
  const file = `${state}.json`;
  writeFileSync(file, JSON.stringify({ simulated: { startMs: 0, stopMs: 0 }, ...config }));
  return ['serve', '--state', state, '--driver', 'simulated', '--config', file];
}
