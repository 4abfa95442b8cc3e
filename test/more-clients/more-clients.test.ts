/**
 * `npm run test:more-clients`: unmodified clients that are too large to be installed for each run of the tests, against a service with
 * real VMs. What is missing is a failure, with the packages that bring it; what ran stands with its date in docs/clients.md.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linuxGuest } from '../guests/linux.ts';
import { findProgram } from '../parts.ts';
import { addWire, openBridge, WIRED_TYPES, type Bridge } from '../support/bridge.ts';
import { startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const PAGE = join(import.meta.dirname, '../../docs/clients.md');
const [BEGIN, END] = ['<!-- begin: written by npm run test:more-clients -->', '<!-- end of more clients -->'];
const GO = '/usr/share/gocode';
/** The SDKs take minutes to compile. */
const GOCACHE = join(import.meta.dirname, '../../node_modules/.cache/nimbus-go');
const SERVICE = `
[[local_nodes]]
name = "n1"
memory_mb = 4096
cores = 32
${WIRED_TYPES}`;

let bridge: Bridge;
let serve: Serve;
let env: NodeJS.ProcessEnv;
const rows: string[] = [];

beforeAll(async () => {
  if (process.getuid?.() !== 0) throw new Error('Run as root: packer enters its guest over a bridge.');
  bridge = await openBridge();
  serve = await startServe(SERVICE, undefined, bridge.within);
  await addWire(serve);
  await serve.admin('image', 'add', 'tiny-linux', linuxGuest());
  const keys = await serve.user('ada');
  env = {
    PATH: '/usr/bin:/bin', HOME: serve.root, LC_ALL: 'C.UTF-8', TMPDIR: serve.root, ENDPOINT: serve.ec2, AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey, AWS_REGION: 'nimbus',
    AWS_EC2_METADATA_DISABLED: 'true', GO111MODULE: 'off', GOPATH: GO, GOCACHE, CHECKPOINT_DISABLE: '1', ANSIBLE_NOCOLOR: '1', ANSIBLE_LOCALHOST_WARNING: 'false',
  };
}, 180_000);
afterAll(async () => {
  expect(await serve.stop()).toBe(0);
  await bridge.close();
  const page = readFileSync(PAGE, 'utf8');
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`docs/clients.md has no ${BEGIN} … ${END}`);
  const standing = page.slice(from + BEGIN.length, to).trim().split('\n').slice(2);
  const clientOf = (row: string): string => row.split('|')[1] ?? '';
  const kept = standing.filter((old) => !rows.some((row) => clientOf(row) === clientOf(old)));
  const table = ['| client | version | ran | what it did |', '|---|---|---|---|', ...[...kept, ...rows].toSorted()].join('\n');
  writeFileSync(PAGE, `${page.slice(0, from)}${BEGIN}\n${table}\n${page.slice(to)}`);
});

function needs(here: boolean, packages: string): void {
  if (!here) throw new Error(`It is not installed: apt-get install --no-install-recommends ${packages}`);
}

/** Where the service is. */
async function within(...argv: string[]): Promise<string> {
  const [program = '', ...args] = [...bridge.within, ...argv];
  const { stdout } = await run(program, args, { env, timeout: 580_000, maxBuffer: 2 ** 24 }).catch((e: Error & { stdout?: string }) => {
    throw new Error(`${e.message}\n${(e.stdout ?? '').slice(-5000)}`);
  });
  return stdout;
}

const ran = (client: string, version: string, did: string): void => {
  rows.push(`| ${client} | ${version} | ${new Date().toISOString().slice(0, 10)} | ${did} |`);
};

const leases = (): Promise<Array<{ id: string; state: string }>> => serve.admin('lease', 'list', '--all');
async function allEnded(): Promise<void> {
  await expect.poll(async () => (await leases()).filter((l) => l.state !== 'Terminated'), { timeout: 60_000 }).toEqual([]);
}

describe('AWS SDK for Go', () => {
  /** Debian has the SDKs as sources below one GOPATH. */
  async function session(file: string, library: string, packages: string): Promise<Record<string, string[]>> {
    needs(findProgram('go') !== undefined && existsSync(join(GO, 'src/github.com/aws', library)), `golang-go ${packages}`);
    const program = join(serve.root, library);
    await run('go', ['build', '-o', program, join(import.meta.dirname, file)], { env, timeout: 580_000 });
    const said: Record<string, string[]> = {};
    for (const line of (await within(program)).trim().split('\n')) {
      const [word = '', ...rest] = line.split(' ');
      (said[word] ??= []).push(rest.join(' '));
    }
    return said;
  }

  it('version 1', async () => {
    const said = await session('sdk1.go', 'aws-sdk-go', 'golang-github-aws-aws-sdk-go-dev');
    expect(said).toMatchObject({ caller: [expect.stringMatching(/:user\/ada$/)], found: ['true running'], refused: ['InvalidKeyPair.Duplicate', 'DryRunOperation'] });
    expect((await leases()).find((l) => l.id === said['ended']?.[0])?.state).toBe('Terminated');
    ran('AWS SDK for Go 1', said['version']?.[0] ?? '', 'caller, image, key pair, instance with tags, its waiters (running, status, stopped, terminated), pages and filters, two refusals');
  });

  it('version 2', async () => {
    const said = await session('sdk2.go', 'aws-sdk-go-v2', 'golang-github-aws-aws-sdk-go-v2-dev');
    expect(said).toMatchObject({ found: ['true running'], refused: ['InvalidKeyPair.Duplicate', 'DryRunOperation'] });
    expect((await leases()).find((l) => l.id === said['ended']?.[0])?.state).toBe('Terminated');
    ran('AWS SDK for Go 2', said['version']?.[0] ?? '', 'image, key pair, instance with tags, its waiters (running, terminated), pages and filters, two refusals');
  });
});

it('packer makes an image of a Linux guest that it has entered', async () => {
  needs(findProgram('packer') !== undefined, 'packer');
  const said = await within('packer', 'build', '-color=false', join(import.meta.dirname, 'packer.json'));
  expect(said).toContain('Connected to SSH!');
  // It looks for the disks of its instance, which has ended and taken them with it.
  expect(said).toContain('No volumes to clean up, skipping');
  expect(said).not.toMatch(/error|warning/i);
  const [, image = ''] = /AMIs were created:\s+nimbus: (ami-[0-9a-f]+)/.exec(said) ?? [];
  expect(await serve.admin<Array<{ id: string; name: string }>>('image', 'list')).toContainEqual(expect.objectContaining({ id: image, name: 'packed' }));
  await allEnded();
  ran('packer, `amazon-ebs`', (await run('packer', ['version'], { env })).stdout.replace(/^Packer v/, '').trim(), 'source image by filter, key pair and security group for the time, instance with tags, ssh into its guest, stop, image with description and tags, all ended');
});

it('Ansible finds what is there, makes what is not, and changes nothing the second time', async () => {
  needs(findProgram('ansible-playbook') !== undefined, 'ansible python3-boto3');
  const dir = join(serve.root, 'ansible');
  mkdirSync(dir);
  copyFileSync(join(import.meta.dirname, 'ansible.yml'), join(dir, 'play.yml'));
  const said = await within('ansible-playbook', join(dir, 'play.yml'));
  expect(said).toMatch(/localhost\s+: ok=\d+\s+changed=\d+\s+unreachable=0\s+failed=0/);
  await allEnded();
  const collections = JSON.parse((await run('ansible-galaxy', ['collection', 'list', 'amazon.aws', '--format', 'json'], { env })).stdout) as Record<string, Record<string, { version: string }>>;
  ran('Ansible, `amazon.aws`', Object.values(collections)[0]?.['amazon.aws']?.version ?? '', 'what there is of images, subnets, VPC, routes, gateways; key pair; security group with rules; instances, by count too, stopped, started, protected; the disk of one; image, opened to all; each once, and no change the second time');
});
