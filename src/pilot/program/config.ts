/**
 * The pilot's configuration. Sections, keys and defaults are those of the original (Nimbus 2.10.1, `workspacepilot.py`);
 * `[memory]`, `[libvirt]`, `[hugepages]` and most of `[other]` are new. A file given with `--configpath` stands in the
 * place of the embedded text, wholly: what it does not say is unset, or has the value that the original gave it then.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { HOST_NAME } from '../protocol.ts';
import { parseIni } from './ini.ts';
import { parseSshWay } from './ssh-way.ts';
import type { SshWay } from './ssh-way.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';
import type { NodeSettings } from './types.ts';

export interface PilotConfig {
  readonly node: NodeSettings;
  /** Account of the original's digest authentication; null = HTTP is not used for the original's form. */
  readonly http: { readonly account: string; readonly secret: string } | null;
  /** null = no log file. */
  readonly logging: { readonly dir: string; readonly prefix: string } | null;
  readonly ssh: { readonly program: string; readonly credential: string | null } | null;
  /** `[other] sshway`: how messages and the channel get to the service when no contact answers; null = no other way. */
  readonly sshWay: SshWay | null;
  /** Part of the grace that is waited for the service after an early SIGTERM, 0 to 1. */
  readonly earlyWaitRatio: number;
  /** s that the service may take to hear of a reservation. */
  readonly reserveWaitS: number;
  readonly heartbeatS: number;
  readonly driver: 'auto' | 'qemu' | 'simulated';
  /** The agent's own configuration, a JSON file; null = its defaults. */
  readonly agentConfig: string | null;
  /** Where users reach guests behind ports of this node, an IPv4 address or a name that has one; null = its address on the way to the service. */
  readonly guestAddress: string | null;
  /** `[other] statedir` was said: `control` then insists on it. */
  readonly stateDirSaid: boolean;
}

export const EMBEDDED = `[http]
secret: pw_here
account: pilotaccount

[logging]
logfiledir: /tmp/
logfileprefix: workspace-pilot-

[xen]
xmsudo: yes
xm: /usr/sbin/xm
minmem: 256
dom0_mem: 2007

[memory]
mechanism: auto

[libvirt]
virsh: virsh
uri: xen:///system
domain: Domain-0

[hugepages]
sizekb: 2048
sysdir: /sys/kernel/mm/hugepages

[systempaths]
ssh: ssh
sudo: /usr/bin/sudo

[other]
earlywaitratio: 0.5
lockfile: /tmp/workspace-pilot.lock
reservewait: 60
pilots_per_node: 1
driver: auto
heartbeat: 30
`;

export const KEYS: Readonly<Record<string, readonly string[]>> = {
  http: ['secret', 'account'],
  logging: ['logfiledir', 'logfileprefix'],
  xen: ['xmsudo', 'xm', 'xl', 'minmem', 'dom0_mem', 'xend', 'restart_xend_secs', 'bubble_mem'],
  memory: ['mechanism'],
  libvirt: ['virsh', 'uri', 'domain'],
  hugepages: ['sizekb', 'sysdir'],
  systempaths: ['ssh', 'sudo'],
  other: [
    'forcehostname', 'earlywaitratio', 'sshcredential', 'lockfile', 'statedir', 'reservewait', 'pilots_per_node', 'driver', 'agentconfig',
    'heartbeat', 'guestaddress', 'sshway',
  ],
};
const MAX_FILE = 256 * 1024;
const MECHANISMS = ['auto', 'xl', 'libvirt', 'hugepages', 'none'] as const;
const DRIVERS = ['auto', 'qemu', 'simulated'] as const;

export interface Place {
  readonly uid: number;
  /** The node's name when nothing forces another. */
  readonly host: string;
}

export interface ReadConfig {
  readonly config: PilotConfig;
  readonly host: string;
  /** Keys that nothing reads. */
  readonly warnings: readonly string[];
}

/** @throws PilotError badConfig that lists every mistake */
export function readConfig(file: string | undefined, place: Place): ReadConfig {
  const text = file === undefined ? EMBEDDED : readText(file);
  return parseConfig(text, file ?? 'embedded configuration', place);
}

/** @throws PilotError badConfig that lists every mistake */
export function parseConfig(text: string, name: string, place: Place): ReadConfig {
  const { sections, mistakes: unreadable } = parseIni(text);
  const reader = new Reader(sections, [...unreadable]);
  const host = reader.matching('other', 'forcehostname', HOST_NAME, 'must be a host name') ?? place.host;
  const config = read(reader, { ...place, host });
  if (reader.mistakes.length > 0) throw new PilotError(EXIT.badConfig, `${name}:\n  ${reader.mistakes.join('\n  ')}`);
  return { config, host, warnings: unknownKeys(sections).map((key) => `${name}: ${key} is not known and counts for nothing`) };
}

function readText(file: string): string {
  try {
    if (statSync(file).size > MAX_FILE) throw new Error(`is longer than ${MAX_FILE} bytes`);
    return readFileSync(file, 'utf8');
  } catch (e) {
    throw new PilotError(EXIT.badConfig, `configuration ${file} cannot be read: ${(e as Error).message}`);
  }
}

function read(r: Reader, { uid, host }: Place): PilotConfig {
  const here = (path: string): string => path.replaceAll('%h', host);
  const sudo = r.text('systempaths', 'sudo');
  const useSudo = r.text('xen', 'xmsudo')?.toLowerCase() === 'yes';
  const mechanism = r.oneOf('memory', 'mechanism', MECHANISMS) ?? 'auto';
  const xen = mechanism === 'xl' || (mechanism === 'auto' && existsSync('/proc/xen'));
  if (useSudo && sudo === undefined) r.wrong('systempaths', 'sudo', 'is needed where [xen] xmsudo is yes');
  const xm = r.text('xen', 'xl') ?? r.text('xen', 'xm');
  if (xen && xm === undefined) r.wrong('xen', 'xm', 'is needed: the path of xl or xm');
  const stateDir = r.absolute('other', 'statedir');
  return {
    node: {
      host,
      mechanism,
      minMb: r.integer('xen', 'minmem', 0, 2 ** 30) ?? (xen ? r.wrong('xen', 'minmem', 'is needed: MiB that dom0 keeps', 256) : 256),
      bubble: r.text('xen', 'bubble_mem') !== 'no',
      sudo: useSudo ? sudo ?? null : null,
      // The original took anything that is no number as "as much as is there".
      xen: { xm: xm ?? '/usr/sbin/xl', dom0Mb: whole(r.text('xen', 'dom0_mem')), restartXend: r.text('xen', 'xend') !== undefined },
      libvirt: { virsh: r.text('libvirt', 'virsh') ?? 'virsh', uri: r.text('libvirt', 'uri') ?? 'xen:///system', domain: r.text('libvirt', 'domain') ?? 'Domain-0' },
      hugepages: { sizeKb: r.integer('hugepages', 'sizekb', 4, 2 ** 21) ?? 2048, sysDir: r.absolute('hugepages', 'sysdir') ?? '/sys/kernel/mm/hugepages' },
      lockFile: here(r.text('other', 'lockfile') ?? r.wrong('other', 'lockfile', 'is needed', '')),
      pilotsPerNode: r.integer('other', 'pilots_per_node', 1, 1024) ?? 1,
      stateBase: here(stateDir ?? `/var/tmp/workspace-pilot-${uid}`),
    },
    http: httpOf(r),
    logging: loggingOf(r, here),
    ssh: sshOf(r),
    sshWay: sshWayOf(r),
    earlyWaitRatio: r.ratio('other', 'earlywaitratio') ?? r.wrong('other', 'earlywaitratio', 'is needed: 0 or more, less than 1', 0),
    reserveWaitS: r.integer('other', 'reservewait', 1, 86_400) ?? 60,
    heartbeatS: r.integer('other', 'heartbeat', 1, 86_400) ?? 30,
    driver: r.oneOf('other', 'driver', DRIVERS) ?? 'auto',
    agentConfig: r.absolute('other', 'agentconfig') ?? null,
    guestAddress: guestAddressOf(r, here),
    stateDirSaid: stateDir !== undefined,
  };
}

function httpOf(r: Reader): PilotConfig['http'] {
  const account = r.text('http', 'account');
  if (account === undefined) return null;
  return { account, secret: r.text('http', 'secret') ?? r.wrong('http', 'secret', 'is needed where account is there', '') };
}

function loggingOf(r: Reader, here: (path: string) => string): PilotConfig['logging'] {
  const said = r.absolute('logging', 'logfiledir');
  if (said === undefined) return null;
  const dir = here(said);
  const prefix = r.matching('logging', 'logfileprefix', /^[^/\0]*$/, 'must not hold a slash') ?? '';
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) r.wrong('logging', 'logfiledir', `${dir} is not a directory; make it, or leave the key out`);
  return { dir, prefix };
}

function sshOf(r: Reader): PilotConfig['ssh'] {
  const credential = r.text('other', 'sshcredential') ?? null;
  const program = r.text('systempaths', 'ssh');
  return program === undefined ? null : { program, credential };
}

function sshWayOf(r: Reader): SshWay | null {
  const said = r.text('other', 'sshway');
  if (said === undefined) return null;
  const ssh = sshOf(r);
  if (ssh === null) return r.wrong('other', 'sshway', 'needs [systempaths] ssh', null);
  const way = parseSshWay(said);
  return way === undefined ? r.wrong('other', 'sshway', 'must be [USER@]HOST:PORT/HOST:PORT: an SSH server, and the service’s listener as seen from there', null) : { ...ssh, ...way };
}

function guestAddressOf(r: Reader, here: (path: string) => string): string | null {
  const said = r.text('other', 'guestaddress');
  if (said === undefined) return null;
  const address = here(said);
  return HOST_NAME.test(address) ? address : r.wrong('other', 'guestaddress', 'must be an IPv4 address or a host name; %h stands for the node', null);
}

function unknownKeys(sections: ReadonlyMap<string, ReadonlyMap<string, string>>): string[] {
  return [...sections].flatMap(([section, keys]) => {
    const known = Object.hasOwn(KEYS, section) ? KEYS[section] : undefined;
    return known === undefined ? [`section [${section}]`] : [...keys.keys()].filter((key) => !known.includes(key)).map((key) => `[${section}] ${key}`);
  });
}

const whole = (text: string | undefined): number | null => (text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : null);

/** Reads typed values and gathers what is wrong with them. */
class Reader {
  readonly mistakes: string[];
  readonly #sections: ReadonlyMap<string, ReadonlyMap<string, string>>;

  constructor(sections: ReadonlyMap<string, ReadonlyMap<string, string>>, mistakes: string[]) {
    this.#sections = sections;
    this.mistakes = mistakes;
  }

  /** An empty value is no value. */
  text(section: string, key: string): string | undefined {
    const found = this.#sections.get(section)?.get(key);
    return found === undefined || found === '' ? undefined : found;
  }

  wrong<T>(section: string, key: string, why: string, instead?: T): T {
    this.mistakes.push(`[${section}] ${key} ${why}`);
    return instead as T;
  }

  matching(section: string, key: string, form: RegExp, why: string): string | undefined {
    const found = this.text(section, key);
    return found === undefined || form.test(found) ? found : this.wrong(section, key, why);
  }

  absolute(section: string, key: string): string | undefined {
    const found = this.text(section, key);
    return found === undefined || isAbsolute(found) ? found : this.wrong(section, key, 'must be an absolute path');
  }

  integer(section: string, key: string, least: number, most: number): number | undefined {
    const found = this.text(section, key);
    if (found === undefined) return undefined;
    const number = whole(found);
    return number !== null && number >= least && number <= most ? number : this.wrong(section, key, `must be a whole number from ${least} to ${most}`, least);
  }

  /** 0 ≤ r < 1, as the original has it. */
  ratio(section: string, key: string): number | undefined {
    const found = this.text(section, key);
    if (found === undefined) return undefined;
    const number = /^(?:\d+(?:\.\d*)?|\.\d+)$/.test(found) ? Number(found) : 1;
    return number < 1 ? number : this.wrong(section, key, 'must be a number: 0 or more, less than 1', 0);
  }

  oneOf<T extends string>(section: string, key: string, words: readonly T[]): T | undefined {
    const found = this.text(section, key);
    if (found === undefined) return undefined;
    return words.find((w) => w === found.toLowerCase()) ?? this.wrong(section, key, `must be one of ${words.join(', ')}`);
  }
}
