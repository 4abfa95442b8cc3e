/** Command line, configuration, contact, digest, and who may be connected with an agent. */
import fc from 'fast-check';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readArguments } from '../../../src/pilot/program/args.ts';
import { EMBEDDED, KEYS, parseConfig } from '../../../src/pilot/program/config.ts';
import { authorization, parseChallenge } from '../../../src/pilot/program/digest.ts';
import { parseIni } from '../../../src/pilot/program/ini.ts';
import { nodeName } from '../../../src/pilot/program/host.ts';
import { PilotError } from '../../../src/pilot/program/types.ts';
import { wordsOf } from '../../../src/pilot/program/words.ts';
import { shellQuote } from '../../../src/control/ssh/remote.ts';
import { Node, SLOT, bundlePilot } from './pilot.ts';
import type { Pilot } from './pilot.ts';

const place = { uid: 1000, host: 'node7' };
const exitOf = (work: () => unknown): number => {
  try {
    work();
  } catch (e) {
    return e instanceof PilotError ? e.exit : -1;
  }
  return 0;
};

describe('words of an SSH client\'s command', () => {
  it('are those that the service has quoted', () => {
    const word = fc.stringMatching(/^[\x20-\x7e\u00a1-\u00ff]{1,30}$/);
    fc.assert(fc.property(fc.array(word), (words) => {
      expect(wordsOf(words.map(shellQuote).join(' '))).toEqual(words);
    }));
  });

  it.each(['a;b', 'a $b', 'a `b`', 'a\nb', 'a "b"', 'a|b', 'a&', 'a >b', 'a *', "a 'b", 'a \\', 'a~b', "a 'b\nc'", 'a\tb', '#a'])('are none of %j, which a shell may read in another way', (line) => {
    expect(wordsOf(line)).toBeNull();
  });
});

describe('INI text', () => {
  const key = fc.stringMatching(/^[a-z][a-z0-9_]{0,10}$/);
  const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/).filter((v) => !/\s;/.test(v));

  it('says what was written, in either form, with comments and blank lines between', () => {
    fc.assert(fc.property(
      fc.dictionary(key, fc.dictionary(key, value, { noNullPrototype: true }), { noNullPrototype: true }), fc.constantFrom(': ', ' = ', '=', ':'), fc.constantFrom('\n', '\n# note\n', '\n\n; note\n', '\r\n'),
      (sections, sign, gap) => {
        const text = Object.entries(sections).map(([name, keys]) => `[${name}]${gap}${Object.entries(keys).map(([k, v]) => `${k.toUpperCase()}${sign}${v}${gap}`).join('')}`).join('');
        const { sections: read, mistakes } = parseIni(text);
        expect(mistakes).toEqual([]);
        expect(Object.fromEntries([...read].map(([name, keys]) => [name, Object.fromEntries(keys)]))).toEqual(sections);
      },
    ));
  });

  it('takes any text without throwing, and names the lines that it does not understand', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => { parseIni(text); }));
    expect(parseIni('x: 1\n[a]\nwhat\n  y\nb: c ; note\n  more').mistakes).toEqual([
      'line 1: stands before the first [section]', 'line 3: neither [section] nor "key: value": "what"', 'line 4: neither [section] nor "key: value": "y"',
    ]);
    expect(parseIni('[a]\nb: c ; note\n  more').sections.get('a')?.get('b')).toBe('c more');
  });
});

describe('configuration', () => {
  it('has the original\'s defaults when none is given', () => {
    const { config, warnings } = parseConfig(EMBEDDED, 'embedded', place);
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      http: { account: 'pilotaccount', secret: 'pw_here' }, logging: { dir: '/tmp/', prefix: 'workspace-pilot-' }, ssh: { program: 'ssh', credential: null },
      earlyWaitRatio: 0.5, reserveWaitS: 60, heartbeatS: 30, driver: 'auto',
      node: { mechanism: 'auto', minMb: 256, bubble: true, sudo: '/usr/bin/sudo', xen: { xm: '/usr/sbin/xm', dom0Mb: 2007 }, lockFile: '/tmp/workspace-pilot.lock', pilotsPerNode: 1, stateBase: '/var/tmp/workspace-pilot-1000' },
    });
  });

  const least = '[other]\nlockfile: /l\nearlywaitratio: 0\n';
  it('given, stands in the place of the embedded one wholly', () => {
    const { config } = parseConfig(least, 'f', place);
    expect(config).toMatchObject({ http: null, logging: null, ssh: null, node: { sudo: null } });
  });

  it('lists every mistake', () => {
    const text = '[http]\naccount: a\n[logging]\nlogfiledir: relative\n[memory]\nmechanism: magic\n[xen]\nxmsudo: yes\n[other]\nearlywaitratio: 1\npilots_per_node: 0\nforcehostname: a b\ndriver: esx\nnonsense\n';
    const mistakes = ['secret', 'logfiledir', 'mechanism', 'sudo', 'earlywaitratio', 'pilots_per_node', 'forcehostname', 'driver', 'lockfile', 'nonsense'];
    expect(() => parseConfig(text, 'f', place)).toThrow(PilotError);
    try {
      parseConfig(text, 'f', place);
    } catch (e) {
      for (const word of mistakes) expect((e as Error).message).toContain(word);
    }
  });

  it('only the literal "no" turns memory off, only "yes" turns sudo on', () => {
    fc.assert(fc.property(fc.stringMatching(/^[a-zA-Z]{1,5}$/), (word) => {
      const { config } = parseConfig(`${least}[systempaths]\nsudo: /s\n[xen]\nbubble_mem: ${word}\nxmsudo: ${word}\n`, 'f', place);
      expect(config.node.bubble).toBe(word !== 'no');
      expect(config.node.sudo).toBe(word.toLowerCase() === 'yes' ? '/s' : null);
    }));
  });

  it('%h stands for the node, and unknown keys are named', () => {
    const { config, host, warnings } = parseConfig('[other]\nlockfile: /run/%h.lock\nstatedir: /s/%h\nforcehostname: n1\nearlywaitratio: .25\nfoo: 1\n[bar]\n', 'f', place);
    expect([config.node.lockFile, config.node.stateBase, host, config.earlyWaitRatio]).toEqual(['/run/n1.lock', '/s/n1', 'n1', 0.25]);
    expect(warnings).toEqual([expect.stringContaining('[other] foo'), expect.stringContaining('[bar]')]);
  });

  it('takes any text without another error than its own', () => {
    fc.assert(fc.property(fc.string(), (text) => { expect([0, 2]).toContain(exitOf(() => parseConfig(`${text}\n${least}`, 'f', place))); }));
  });
});

describe('command line', () => {
  const good = ['-r', '-m', '512', '-d', '60', '-g', '8', '-i', SLOT];

  it('reads the original\'s options, long and short', () => {
    const long = ['--reserveslot', '--memory', '512', '--duration', '60', '--graceperiod', '8', '--slotid', SLOT];
    expect(readArguments(long)).toEqual(readArguments(good));
    expect(readArguments([...good, '-e', '-q', '-s', '-p', '/c', '-c', 'http://x:1'])).toMatchObject({
      action: 'reserve', memoryMb: 512, durationS: 60, graceS: 8, slot: SLOT, evaluate: true, level: 'error', stdoutLog: true, configPath: '/c', contact: 'http://x:1',
    });
    expect(readArguments(['-k'])).toMatchObject({ action: 'killnine' });
    expect(readArguments(['--recover', '-i', SLOT])).toMatchObject({ action: 'recover', slot: SLOT });
    expect(readArguments(['-r', '-m', '1', '-d', '1', '-g', '0', '-i', '7C9E6679-7425-40de-944b-e07fc1f90ae7'])).toMatchObject({ graceS: 0 });
  });

  it.each([
    [[], 1], [['-r'], 1], [['-r', '-k'], 1], [['--recover', '-r'], 1], [[...good, '-m', 'x'], 1], [[...good, '-m', '0'], 1], [[...good, '-d', '0'], 1], [[...good, '-d', '1.5'], 1],
    [[...good, '-g', '-1'], 2], [[...good, '-i', '../x'], 1], [[...good, '--part', '-1'], 2], [[...good, '--part', '4096'], 1], [[...good, 'word'], 1],
    [[...good, '--contact', 'x', '--credentials', '-'], 1], [['--nonsense'], 2], [['-r', '-m'], 2], [['control', 'x'], 1], [['control'], 0], [good, 0], [['--help'], 0],
  ])('%j: exit %i', (args, exit) => {
    expect(exitOf(() => readArguments(args))).toBe(exit);
  });

  it('takes any words without another error than its own', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom(...good, '--part', '--recover'))), (args) => {
      expect([0, 1, 2]).toContain(exitOf(() => readArguments(args)));
    }));
  });

  it('the node has the batch system\'s name for it', () => {
    expect(nodeName({ SLURMD_NODENAME: 'n12' })).toBe('n12');
    expect(nodeName({ SLURMD_NODENAME: 'a b;c' })).not.toBe('a b;c');
    expect(nodeName({})).not.toContain('.');
  });
});

describe('the sample of a configuration', () => {
  const sample = readFileSync(fileURLToPath(new URL('../../../etc/workspace-pilot.conf', import.meta.url)), 'utf8');
  const all = sample.replace(/^#(?=[a-z0-9_]+:)/gm, '');

  it('has every key that the program reads, and no other', () => {
    const { sections, mistakes } = parseIni(all);
    expect(mistakes).toEqual([]);
    const sorted = (keys: Iterable<string>): string[] => [...keys].sort();
    expect(Object.fromEntries([...sections].map(([name, keys]) => [name, sorted(keys.keys())])))
      .toEqual(Object.fromEntries(Object.entries(KEYS).map(([name, keys]) => [name, sorted(keys)])));
    expect(all.match(/^[a-z0-9_]+:/gm)).toHaveLength(Object.values(KEYS).flat().length);
  });

  it('shows the defaults: a node behaves the same with each of them said', () => {
    const asShipped = parseConfig(sample, 'sample', place);
    expect(asShipped.warnings).toEqual([]);
    expect(parseConfig(all, 'sample', place)).toEqual(asShipped);
    expect(asShipped.config.node.stateBase).toBe('/var/tmp/workspace-pilot-1000');
  });

  it('says what is required and nothing more', () => {
    for (const key of ['earlywaitratio', 'lockfile']) {
      expect(exitOf(() => parseConfig(sample.replace(new RegExp(`^${key}:.*$`, 'm'), ''), 'sample', place)), key).toBe(2);
    }
    expect(sample.match(/^[a-z0-9_]+:/gm)).toEqual(['earlywaitratio:', 'lockfile:']);
  });
});

describe('digest', () => {
  /** RFC 7616, 3.9.1: the example's figures. */
  const request = { method: 'GET', uri: '/dir/index.html', body: '' };
  const account = { user: 'Mufasa', secret: 'Circle of Life' };
  const base = { realm: 'http-auth@example.org', nonce: '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v', qop: 'auth', opaque: 'FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS' } as const;
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';

  it('is that of RFC 7616', () => {
    expect(authorization(account, { ...base, algorithm: 'MD5' }, request, 1, cnonce)).toContain('response="8ca523f5e9506fed4657c9700eebdbec"');
    expect(authorization(account, { ...base, algorithm: 'SHA-256' }, request, 1, cnonce))
      .toContain('response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"');
  });

  it('reads challenges as they are written, and nothing else', () => {
    expect(parseChallenge('Digest realm="pilotrealm", domain="", nonce="abc=", algorithm=MD5, qop="auth", stale=true'))
      .toEqual({ realm: 'pilotrealm', nonce: 'abc=', algorithm: 'MD5', qop: 'auth', stale: true });
    expect(parseChallenge('Digest realm="a", nonce="b"')).toMatchObject({ algorithm: 'MD5', qop: null });
    for (const header of [undefined, '', 'Basic realm="x"', 'Digest', 'Digest realm="a"', 'Digest realm="a", nonce="b", algorithm=SHA-512', 'Digest realm="a", nonce="b", qop="new"']) {
      expect(parseChallenge(header)).toBeUndefined();
    }
    fc.assert(fc.property(fc.string(), (text) => { parseChallenge(`Digest ${text}`); }));
  });
});

describe('control', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pilot-bundle-'));
  let program = '';
  let node: Node;
  beforeAll(async () => { program = await bundlePilot(scratch); });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  beforeEach(() => { node = new Node(program); });
  afterEach(() => node.remove());

  const slotDir = (base: string): string => {
    const dir = join(base, `${SLOT}.node7`, 'control');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return dir;
  };

  it('without a pilot there: says so, exit 3', async () => {
    const pilot = node.start(['control', '--state', slotDir(node.stateBase)]);
    expect(await pilot.ended).toBe(3);
    expect(pilot.stderr).toContain('no pilot serves');
  });

  it('refuses what is no slot\'s directory, exit 1', async () => {
    const good = slotDir(node.stateBase);
    const link = join(node.root, 'link');
    symlinkSync(node.stateBase, link);
    const loose = slotDir(join(node.root, 'loose'));
    chmodSync(join(loose, '..'), 0o777);
    const other = slotDir(join(node.root, 'other'));
    const conf = node.config();
    const wrong = [
      ['control'], ['/etc'], [`${good}/..`], [join(good, '..', 'control', '..', 'control')], [join(link, `${SLOT}.node7`, 'control')], [loose], ['/no/such.slot/control'], [other, '-p', conf],
    ].map(([dir = '', ...more]) => ({ dir, given: ['control', '--state', dir, ...more] }));
    // A path as it is typed, not as `join` tidies it.
    wrong.push({ dir: '//', given: ['control', '--state', `${node.stateBase}//${SLOT}.node7/control`] });
    for (const { given } of wrong) expect([given, await node.start(given).ended]).toEqual([given, given.includes(good) ? 3 : 1]);
  });

  it('as a forced command: what the client asks for says which agent', async () => {
    const conf = node.config();
    const dir = slotDir(node.stateBase);
    const server = createServer((socket) => socket.end(`${JSON.stringify({ hello: { program: 'workspace-control', version: '1.0.0' } })}\n`));
    await new Promise<void>((resolve) => server.listen(join(dir, 'agent.sock'), resolve));
    const asked = (command: string): Pilot => node.start(['control', '-p', conf], undefined, { SSH_ORIGINAL_COMMAND: command });
    const joined = asked(`workspace-pilot control --state ${shellQuote(dir)}`);
    expect(await joined.ended).toBe(4);
    expect(joined.output).toContain('workspace-control');
    server.close();
  });

  it.each([
    ['', 'this key may only join'], ['sh', 'this key may only join'], ['workspace-pilot control', 'this key may only join'], ['workspace-pilot control --state /a b', 'this key may only join'],
    ['workspace-pilot --killnine', 'this key may only join'], ['workspace-pilot control --state $(id)', 'this key may only join'], [`workspace-pilot control --state /${'x'.repeat(9000)}`, 'this key may only join'],
    ['workspace-pilot control --state /etc/control', 'is not STATEBASE/SLOT.HOST/control'], [`workspace-pilot control --state /tmp/${SLOT}.node7/control`, 'is not below'],
  ])('as a forced command refuses %j, exit 1', async (command, why) => {
    const pilot = node.start(['control', '-p', node.config()], undefined, { SSH_ORIGINAL_COMMAND: command });
    expect(await pilot.ended).toBe(1);
    expect(pilot.stderr).toContain(why);
  });

  it('without a state directory and without a client: says what is missing, exit 1', async () => {
    const pilot = node.start(['control']);
    expect(await pilot.ended).toBe(1);
    expect(pilot.stderr).toContain('needs --state DIR');
  });

  it('ends with exit 4 when the agent goes', async () => {
    const dir = slotDir(node.stateBase);
    const server = createServer((socket) => socket.end(`${JSON.stringify({ hello: { program: 'workspace-control', version: '1.0.0' } })}\n`));
    await new Promise<void>((resolve) => server.listen(join(dir, 'agent.sock'), resolve));
    const pilot = node.start(['control', '--state', dir]);
    expect(await pilot.ended).toBe(4);
    expect(pilot.output).toContain('workspace-control');
    server.close();
  });
});
