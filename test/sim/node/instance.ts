/** One instance of the nodes' program for each simulated process, with the modules of its machine in the place of Node's. */
import * as crypto from 'node:crypto';
import { createRequire } from 'node:module';
import { Script } from 'node:vm';
import text from 'sim:node-program';
import type { Dice } from '../world/random.ts';
import type { Process } from '../world/process.ts';
import { fileSystem, UID } from './fs.ts';
import type { Web } from './http.ts';
import type { Machine } from './machine.ts';
import type * as program from './program.ts';
import { net } from './sockets.ts';

export type NodeProgram = typeof program;

const PARAMETERS = ['module', 'exports', 'require', 'process', 'performance', 'setImmediate', 'setTimeout', 'setInterval', 'Date', 'simulatedWeb'] as const;
const factory = new Script(`(function (${PARAMETERS.join(', ')}) {${text}\n})`, { filename: 'node-program.cjs' }).runInThisContext() as (...args: unknown[]) => void;
const real = createRequire(import.meta.url);

/** Real time would make two runs of one seed differ. */
const realTime = (what: string) => (): never => {
  throw new Error(`${what} was asked for real time inside the simulation`);
};
class NoDate extends Date {
  static override now = realTime('Date.now');
}

export interface InstanceParts {
  readonly process: Process;
  readonly pid: number;
  readonly machine: Machine;
  readonly random: Dice;
  readonly immediate: (fn: () => void) => void;
  readonly web: Web;
}

export function instantiate({ process, pid, machine, random, immediate, web }: InstanceParts): NodeProgram {
  const { fs, promises } = fileSystem(machine.disk);
  const modules: Readonly<Record<string, object>> = {
    'node:fs': fs, 'node:fs/promises': promises, 'node:net': net(machine.names, process),
    'node:os': { hostname: () => machine.name, totalmem: () => machine.memoryMb * 2 ** 20, availableParallelism: () => machine.cores, userInfo: () => ({ username: 'sim' }) },
    'node:crypto': { ...crypto, randomBytes: (n: number) => random.bytes(n) },
    'node:child_process': { spawn: () => { throw new Error('simulated nodes run no programs'); } },
  };
  const module = { exports: {} };
  const values: Readonly<Record<(typeof PARAMETERS)[number], unknown>> = {
    module, exports: module.exports,
    require: (name: string): unknown => modules[name] ?? real(name),
    process: {
      pid, platform: 'linux', execPath: '/sim/node', argv: [], env: {}, stdin: null, getuid: () => UID, getgid: () => UID, geteuid: () => UID, getegid: () => UID,
      kill: () => { throw new Error('simulated processes are killed by their machine'); },
    },
    performance: { now: () => process.clock.monotonic(), timeOrigin: process.clock.now() },
    setImmediate: (fn: () => void) => immediate(() => { if (process.alive) fn(); }),
    setTimeout: realTime('setTimeout'), setInterval: realTime('setInterval'), Date: NoDate, simulatedWeb: web,
  };
  factory(...PARAMETERS.map((name) => values[name]));
  return module.exports as NodeProgram;
}
