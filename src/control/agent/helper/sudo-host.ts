/** Has the helper do what needs root: `sudo -n PROGRAM… helper`, one request a call. */
import { spawn } from 'node:child_process';
import type { Clock } from '../clock.ts';
import type { VmPlace } from '../driver.ts';
import type { VmHost } from '../drivers/qemu/host.ts';
import type { Launch } from '../drivers/qemu/launch.ts';
import { lastWords } from '../drivers/qemu/programs.ts';
import { AgentFault } from '../fault.ts';
import type { AgentErrorCode } from '../../protocol.ts';
import { MAX_REQUEST } from './request.ts';
import type { HelperAnswer, HelperRequest } from './request.ts';

const ANSWER_MS = 45_000;

export interface SudoHostOptions {
  readonly clock: Clock;
  /** The argument vector that sudo allows, e.g. sudo -n /usr/bin/node /opt/nimbus/workspace-control.mjs helper. */
  readonly command: readonly string[];
}

export class SudoHost implements VmHost {
  readonly ownUids = true;
  readonly #o: SudoHostOptions;

  constructor(options: SudoHostOptions) {
    this.#o = options;
  }

  async start(place: VmPlace, launch: Launch): Promise<{ pid: number }> {
    const { pid } = await this.#ask({ op: 'vm-start', place, launch: slim(launch) });
    if (pid === undefined) throw new AgentFault('DriverFailed', 'the helper did not name the process');
    return { pid };
  }

  async end(place: VmPlace, pid: number | null): Promise<void> {
    await this.#ask({ op: 'vm-end', place, pid });
  }

  async lacks(): Promise<readonly string[]> {
    try {
      return (await this.#ask({ op: 'check' })).lacks ?? [];
    } catch (e) {
      return [`the helper does not answer: ${(e as Error).message} (docs/operations.md, "Helper")`];
    }
  }

  #ask(request: HelperRequest): Promise<HelperAnswer & { ok: true }> {
    const [program = 'sudo', ...args] = this.#o.command;
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
      const timer = this.#o.clock.after(ANSWER_MS, () => child.kill('SIGKILL'));
      const out = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8').on('data', (text: string) => { out[name] = (out[name] + text).slice(0, MAX_REQUEST); });
      }
      child.stdin.on('error', () => undefined); // a helper that refused at once has closed its input; its answer says why
      child.stdin.end(JSON.stringify(request));
      child.once('error', (e) => { timer.cancel(); reject(new AgentFault('DriverFailed', `${program}: ${e.message}`)); });
      child.once('close', () => {
        timer.cancel();
        const answer = parse(out.stdout);
        if (answer === null) reject(new AgentFault('DriverFailed', `the helper gave no answer: ${lastWords(out.stderr)}`));
        else if (answer.ok) resolve(answer);
        else reject(new AgentFault(answer.error.code as AgentErrorCode, answer.error.message));
      });
    });
  }
}

/** NICs carry more than the helper takes. */
function slim(launch: Launch): Launch {
  const nics = launch.nics.map(({ kind, bridge, mac, ip, prefix, gateway, dns }) => ({ kind, bridge, mac, ip, prefix, gateway, dns }));
  return { ...launch, nics };
}

function parse(text: string): HelperAnswer | null {
  try {
    return JSON.parse(text) as HelperAnswer;
  } catch {
    return null;
  }
}
