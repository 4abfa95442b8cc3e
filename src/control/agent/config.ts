/** The agent's configuration: a JSON file, every key optional. */
import { readFileSync } from 'node:fs';
import { AgentFault } from './fault.ts';
import { bad, fieldsOf, flag, fraction, integer, list, nullable, oneOf, optional, record, text } from './validate.ts';
import type { Check } from './validate.ts';

/** A failure that the simulated driver shall show, for tests and rehearsals. */
export interface SimulatedFault {
  /** Beginning of the lease ids it strikes; empty = all */
  readonly lease: string;
  readonly op: 'prepare' | 'start' | 'reboot' | 'pause' | 'resume' | 'powerDown' | 'notice' | 'end' | 'save' | 'copy' | 'console' | 'serialize' | 'restore';
  /** How often it strikes; absent = always */
  readonly times?: number;
  /** The operation hangs instead of failing. */
  readonly hang?: boolean;
}

/** VMs that end by themselves. */
export interface SimulatedExit {
  readonly lease: string;
  readonly afterMs: number;
}

export interface SimulatedConfig {
  readonly startMs: number;
  readonly stopMs: number;
  /** How long a guest takes to power down when its button is pressed; null = it does not obey. */
  readonly powerDownMs: number | null;
  readonly failureRate: number;
  readonly faults: readonly SimulatedFault[];
  readonly exits: readonly SimulatedExit[];
  /** False: as a VMM that cannot keep the memory of VMs. */
  readonly serializes: boolean;
}

export interface AgentConfig {
  /** Size limit of the image cache, MiB */
  readonly cacheMb: number;
  /** Ports of the node that lead to guests' SSH on user-mode networks */
  readonly forwardPorts: readonly [number, number];
  /** Operations at once; 0 = what suits the driver */
  readonly parallel: number;
  readonly simulated: SimulatedConfig;
  /** Handed to the driver, which validates it. */
  readonly qemu: Readonly<Record<string, unknown>>;
  readonly helper: Readonly<Record<string, unknown>>;
}

export const DEFAULTS: AgentConfig = {
  cacheMb: 20_480,
  forwardPorts: [42_000, 47_999],
  parallel: 0,
  simulated: { startMs: 150, stopMs: 50, powerDownMs: 100, failureRate: 0, faults: [], exits: [], serializes: true },
  qemu: {},
  helper: {},
};

const PREFIX = text(64, /^[A-Za-z0-9._-]*$/);
const ports: Check<readonly [number, number]> = (value, at) => {
  const [from, to, ...rest] = list(integer(1, 65_535), 2)(value, at);
  return from !== undefined && to !== undefined && rest.length === 0 && from <= to ? [from, to] : bad(at, 'must be [from, to]');
};
const bag: Check<Readonly<Record<string, unknown>>> = (value, at) => fieldsOf(value, at);
const milliseconds = integer(0, 3_600_000);

const simulatedFault = record<SimulatedFault>({
  lease: PREFIX,
  op: oneOf('prepare', 'start', 'reboot', 'pause', 'resume', 'powerDown', 'notice', 'end', 'save', 'copy', 'console', 'serialize', 'restore'),
  times: optional(integer(1, 1_000_000)),
  hang: optional(flag),
});
const simulated = record<Partial<SimulatedConfig>>({
  startMs: optional(milliseconds),
  stopMs: optional(milliseconds),
  powerDownMs: optional(nullable(milliseconds)),
  failureRate: optional(fraction),
  faults: optional(list(simulatedFault, 1000)),
  exits: optional(list(record<SimulatedExit>({ lease: PREFIX, afterMs: milliseconds }), 1000)),
  serializes: optional(flag),
});

const FIELDS: { readonly [K in keyof AgentConfig]: Check<unknown> } = {
  cacheMb: integer(1, 2 ** 40),
  forwardPorts: ports,
  parallel: integer(0, 4096),
  simulated: (value, at) => ({ ...DEFAULTS.simulated, ...simulated(value, at) }),
  qemu: bag,
  helper: bag,
};

/** @throws AgentFault BadRequest with every mistake */
export function parseAgentConfig(value: unknown): AgentConfig {
  const given = fieldsOf(value, 'configuration');
  const out: Record<string, unknown> = { ...DEFAULTS };
  const mistakes: string[] = [];
  for (const [key, item] of Object.entries(given)) {
    if (!Object.hasOwn(FIELDS, key)) {
      mistakes.push(`unknown key ${JSON.stringify(key)}; known are ${Object.keys(FIELDS).join(', ')}`);
      continue;
    }
    try {
      out[key] = FIELDS[key as keyof AgentConfig](item, key);
    } catch (e) {
      mistakes.push((e as Error).message);
    }
  }
  if (mistakes.length > 0) throw new AgentFault('BadRequest', mistakes.join('; '));
  return out as unknown as AgentConfig;
}

/** @throws AgentFault BadRequest */
export function readAgentConfig(file: string | undefined): AgentConfig {
  if (file === undefined) return DEFAULTS;
  try {
    return parseAgentConfig(JSON.parse(readFileSync(file, 'utf8')));
  } catch (e) {
    throw new AgentFault('BadRequest', `${file}: ${e instanceof Error ? e.message : String(e)}`);
  }
}
