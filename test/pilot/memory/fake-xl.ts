/** A Xen host for tests: the program test/fixtures/xl/xl.mjs with its state file, and the settings that lead to it. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { realClock } from '../../../src/control/agent/clock.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import type { NodeSettings, ProgramContext } from '../../../src/pilot/program/types.ts';

const SCRIPT = resolve(import.meta.dirname, '../../fixtures/xl/xl.mjs');

export interface XlFault {
  readonly command: 'list' | 'info' | 'mem-set' | 'destroy';
  /** Absent = always. */
  readonly times?: number;
  /** Before it takes effect, and after it, before it ends. */
  readonly beforeMs?: number;
  readonly afterMs?: number;
  /** Fails with this and `words`, without effect. */
  readonly status?: number;
  readonly words?: string;
  readonly ignoreTerm?: boolean;
}

export interface XlGuest {
  readonly id: number;
  readonly name: string;
  readonly mb: number;
  readonly immortal?: boolean;
}

export interface XlState {
  readonly totalMb: number;
  readonly dom0: { readonly mb: number; readonly target: number };
  readonly guests: readonly XlGuest[];
  readonly scrubbing: readonly { readonly mb: number; readonly until: number }[];
  readonly scrubMs: number;
  readonly mbPerSecond: number;
  readonly faults: readonly XlFault[];
}

export class FakeXl {
  /** The program's path. */
  readonly program: string;
  readonly #file: string;

  constructor(dir: string, given: Partial<XlState> = {}, name: 'xl' | 'xm' = 'xl') {
    this.program = join(dir, name);
    this.#file = join(dir, 'host.json');
    writeFileSync(this.program, `#!/bin/sh\nexec '${process.execPath}' '${SCRIPT}' '${this.#file}' "$@"\n`);
    chmodSync(this.program, 0o755);
    const state: XlState = {
      totalMb: 2048, dom0: { mb: 2007, target: 2007 }, guests: [], scrubbing: [], scrubMs: 0, mbPerSecond: 1e6, faults: [], ...given,
    };
    writeFileSync(this.#file, JSON.stringify({ ...state, at: realClock.now() }));
  }

  state(): XlState {
    return JSON.parse(readFileSync(this.#file, 'utf8')) as XlState;
  }

  change(change: Partial<XlState>): void {
    writeFileSync(this.#file, JSON.stringify({ ...this.state(), ...change }));
  }

  /** Every call so far, in order. */
  calls(): string[] {
    const file = `${this.#file}.calls`;
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  }
}

export const testContext: ProgramContext = { clock: realClock, log: silentLog };

/** Settings with everything below `dir`, so that tests do not meet each other's locks. */
export function settingsIn(dir: string, given: Partial<NodeSettings> = {}): NodeSettings {
  return {
    host: 'node1', mechanism: 'none', minMb: 256, bubble: true, sudo: null,
    xen: { xm: join(dir, 'xl'), dom0Mb: null, restartXend: false },
    libvirt: { virsh: 'virsh', uri: 'test:///default', domain: 'test' },
    hugepages: { sizeKb: 2048, sysDir: '/sys/kernel/mm/hugepages' },
    lockFile: join(dir, 'pilot.lock'), pilotsPerNode: 1, stateBase: join(dir, 'state'),
    ...given,
  };
}

/** A signal that fires after `ms`; its timer keeps nothing alive. */
export const within = (ms: number): AbortSignal => AbortSignal.timeout(ms);

/** A signal that fires when `command` was called `times` times. */
export function afterCalls(xl: FakeXl, command: XlFault['command'], times: number): AbortSignal {
  const controller = new AbortController();
  const look = (): void => {
    if (xl.calls().filter((c) => c.startsWith(command)).length >= times) controller.abort();
    else realClock.after(10, look, true);
  };
  look();
  return controller.signal;
}
