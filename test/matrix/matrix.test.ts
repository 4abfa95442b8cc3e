/**
 * One session, played by every unmodified client against one service, and a real Linux guest entered by each one's own way. What
 * they saw stands in docs/clients.md: written by `npm run docs:clients`, compared by every other run.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, type ExpectStatic } from 'vitest';
import { linuxGuest } from '../guests/linux.ts';
import { hasPart } from '../parts.ts';
import { addWire, openBridge, WIRED_TYPES, type Bridge } from '../support/bridge.ts';
import { processesWith } from '../support/processes.ts';
import { startServe, type Serve } from '../support/serve.ts';
import { argv, CLIENTS, found, REFUSALS, REFUSED, STEPS, type Found, type MatrixClient } from './clients.ts';
import { differences, section, withSection } from './page.ts';

const run = promisify(execFile);
const PAGE = join(import.meta.dirname, '../../docs/clients.md');
const SESSION_MS = 480_000;
const SSH_OPTIONS = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'IdentitiesOnly=yes'];
const SERVICE = `
[[local_nodes]]
name = "n1"
memory_mb = 8192
cores = 64
${WIRED_TYPES}`;
const entered = hasPart('qemu') && hasPart('linuxguest');
/** Where nobody may make a bridge, clients that need an address of the guest's own do not enter one. */
const wired = entered && hasPart('root');
const results = new Map<MatrixClient, Found>();
let serve: Serve;
let bridge: Bridge | undefined;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  if (wired) bridge = await openBridge();
  serve = await startServe(SERVICE, undefined, bridge?.within);
  if (wired) await addWire(serve);
  const keys = await serve.user('ada');
  env = {
    PATH: '/usr/bin:/bin', HOME: serve.root, LC_ALL: 'C.UTF-8', PYTHONDONTWRITEBYTECODE: '1', AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey,
    AWS_DEFAULT_REGION: 'nimbus', INSTANCE_TYPE: 'm1.small', ...await certificates(), AWS_EC2_METADATA_DISABLED: 'true', AWS_MAX_ATTEMPTS: '1',
  };
  if (entered) await serve.admin('image', 'add', 'tiny-linux', linuxGuest());
}, 600_000);
afterAll(async () => {
  expect(await serve.stop()).toBe(0);
  await bridge?.close();
});

/** A program where the service is. */
function command(program: string, args: readonly string[]): [string, string[]] {
  const [first = '', ...rest] = [...(bridge?.within ?? []), program, ...args];
  return [first, rest];
}

/** For SOAP: a certificate and its key, and the key of someone else. */
async function certificates(): Promise<Record<string, string>> {
  await serve.user('eve');
  const create = (user: string): Promise<{ certificate: string; key: string }> => serve.admin('user', 'cert', 'create', user, '--out', serve.root);
  const [own, other] = [await create('ada'), await create('eve')];
  return { EC2_CERT: own.certificate, EC2_PRIVATE_KEY: own.key, WRONG_PRIVATE_KEY: other.key };
}

const keyFile = (client: MatrixClient): string => join(serve.root, `${client.row}.pem`);
const title = (c: MatrixClient): string => `${c.name}, ${c.signature}`;

/** What each step must have seen; `ids` are the instances that the client was given. */
function checkSteps(expect: ExpectStatic, { steps }: Found): void {
  expect(steps.map((s) => s.step)).toEqual(STEPS);
  const saw = Object.fromEntries(steps.filter((s) => s.missing === undefined).map((s) => [s.step, s.saw]));
  const ids = saw['run'] as string[];
  expect(new Set(ids)).toHaveLength(2);
  for (const id of ids) expect(id).toMatch(/^i-[0-9a-f]{8,17}$/);
  expect(saw['images']).toContain('nimbus-guest');
  expect(saw['key pair']).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
  expect(saw['running']).toEqual(['running', 'running']);
  expect(saw['console']).toContain(ids[0]);
  expect(saw['reboot'] ?? true).toBe(true);
  expect(saw['terminate']).toEqual(['shutting-down', 'shutting-down']);
  expect(saw['terminated']).toEqual(['terminated', 'terminated']);
  const { tags, filter, wildcard } = saw as Record<string, string[]>;
  if (tags === undefined) return;
  expect(tags).toContain(ids[0]);
  for (const id of tags) expect(ids).toContain(id);
  expect(filter?.toSorted()).toEqual(tags.toSorted());
  expect(wildcard?.toSorted()).toEqual(tags.toSorted());
}

function checkRefusals(expect: ExpectStatic, { refusals }: Found): void {
  expect(refusals.map((r) => r.refusal)).toEqual(REFUSED);
  for (const { refusal, code, status, message, missing } of refusals) {
    if (missing !== undefined) continue;
    expect(REFUSALS[refusal], refusal).toContain(code?.replace(/^(?:aws:)?Client\./, ''));
    expect(message, refusal).toMatch(/\w+ \w+/);
    if (status != null) expect([400, 401, 403, 412, 500], refusal).toContain(status);
  }
}

describe('one session', () => {
  for (const client of CLIENTS) {
    it(title(client), { concurrent: true, skip: !client.needs.every(hasPart), timeout: SESSION_MS }, async ({ expect }) => {
      const { stdout } = await run(...command(client.program, argv(client, 'session', serve.ec2, 'nimbus-guest', keyFile(client))), { env, timeout: SESSION_MS - 5_000 });
      const seen = found(stdout.trim().split('\n'));
      checkSteps(expect, seen);
      checkRefusals(expect, seen);
      results.set(client, seen);
    });
  }
});

describe.skipIf(!entered)('a Linux guest, with key, user data and way in as the client has them', () => {
  for (const client of CLIENTS) {
    it(title(client), { concurrent: true, skip: !client.needs.every(hasPart) || (client.wired === true && !wired), timeout: SESSION_MS }, async ({ expect }) => {
      const child = spawn(...command(client.program, argv(client, 'guest', serve.ec2, 'tiny-linux', keyFile(client))), { env: { ...env, INSTANCE_TYPE: client.wired === true ? 'm1.wired' : 'm1.small' }, stdio: ['pipe', 'pipe', 'pipe'], timeout: SESSION_MS - 5_000 });
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-10_000); });
      const lines: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) if (lines.push(line) === 2) break;
      expect(lines, stderr).toHaveLength(2);
      const [step] = found(lines).steps;
      const { id, address, command: way = `ssh -p 22 root@${address}`, userData } = step?.saw as Record<string, string>;
      expect(address).toMatch(client.wired === true ? /^10\.77\.0\.\d\d$/ : /^127\.0\.0\.1$/);
      const [, port = '', at = ''] = /^ssh -p (\d+) (\S+@[\d.]+)$/.exec(way) ?? [];
      // `patience`: seconds for the connection; a guest that is not up yet does not answer at all.
      const say = async (what: string, patience = 50): Promise<string> =>
        (await run(...command('ssh', ['-o', `ConnectTimeout=${patience}`, ...SSH_OPTIONS.flatMap((o) => ['-o', o]), '-i', keyFile(client), '-p', port, at, what]), { timeout: 60_000 })).stdout;
      await expect.poll(() => say('cat /seed/meta-data', 5).catch(() => ''), { timeout: 300_000, interval: 500 }).toContain(id);
      expect((await say('cat /seed/user-data')).trimEnd()).toBe(userData?.trimEnd());
      const exited = once(child, 'exit');
      child.stdin.end();
      expect(await exited, stderr).toEqual([0, null]);
      expect(processesWith(id ?? '')).toEqual([]);
      const seen = results.get(client);
      if (seen !== undefined) seen.reached = true;
    });
  }
});

describe('docs/clients.md', () => {
  it('says what the clients that are here found', () => {
    const rows = CLIENTS.flatMap((client) => {
      const seen = results.get(client);
      return seen === undefined ? [] : [{ client, found: seen }];
    });
    expect(rows.length).toBeGreaterThan(0);
    const page = readFileSync(PAGE, 'utf8');
    if (process.env['NIMBUS_DOCS'] === 'write') writeFileSync(PAGE, withSection(page, section(rows, page, CLIENTS)));
    else expect(differences(page, rows, process.env['NIMBUS_ALL_PARTS'] === '1')).toEqual([]);
  });
});
