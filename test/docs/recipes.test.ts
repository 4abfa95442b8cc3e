/**
 * The recipes of docs/operations.md, typed as they stand: each in a fresh directory with a service that was installed by the
 * first of them, a node over SSH and leases. Replaced is only what a page cannot know: the port of the listener, a server's address.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FsckReport } from '../../src/fsck/types.ts';
import type { NodeView } from '../../src/manager/admin-types.ts';
import type { LeaseView } from '../../src/manager/types.ts';
import { sshdSet, type Sshd, type SshdSet } from '../fixtures/sshd.ts';
import { hasPart } from '../parts.ts';
import { openEmptyDatabase, type TestDatabase } from '../support/database.ts';
import { NIMBUS } from '../support/serve.ts';
import { blocks, pageOf, ROOT } from './pages.ts';

const RECIPES = new Map(pageOf('docs/operations.md').split(/^## /m).filter((s) => s.startsWith('Recipes\n'))
  .flatMap((s) => s.split(/^### /m).slice(1)).map((section) => {
    const [title = ''] = section.split('\n');
    return [title, blocks({ file: title, text: section }).filter((b) => b.language === 'sh').map((b) => b.text)] as const;
  }));
const LINE_MS = 240_000;

/** A shell that stays open between the blocks of a page, as a person's does. */
class Shell {
  readonly #child: ChildProcess;
  #said = '';
  #out = '';
  #marks = 0;

  constructor(readonly dir: string, env: Record<string, string>) {
    this.#child = spawn('bash', ['-e', '-u', '-o', 'pipefail'], { cwd: dir, env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child.stdout?.on('data', (chunk: Buffer) => { this.#out += chunk.toString(); });
    for (const out of [this.#child.stdout, this.#child.stderr]) out?.on('data', (chunk: Buffer) => { this.#said += chunk.toString(); });
  }

  /** What it printed, or of that its answer alone: what others say on standard error may come at any time. Rejects with all of it when a line fails. */
  run(block: string, answer = false): Promise<string> {
    const mark = `done-${(this.#marks += 1)}-${process.pid}`;
    this.#said = '';
    this.#out = '';
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(new Error(`still running:\n${block}\n${this.#said}`)), LINE_MS);
      const onExit = (): void => settle(new Error(`failed:\n${block}\n${this.#said}`));
      const onData = (): void => { if (this.#out.includes(`${mark}\n`)) settle(); };
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        this.#child.off('close', onExit);
        this.#child.stdout?.off('data', onData);
        if (error === undefined) resolve((answer ? this.#out : this.#said).replace(`${mark}\n`, ''));
        else reject(error);
      };
      this.#child.once('close', onExit);
      this.#child.stdout?.on('data', onData);
      this.#child.stdin?.write(`${block}\necho ${mark}\n`);
    });
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

/** This version as the next one: with another number, and a schema of its own. Built as the page builds it, on packages that are here. */
async function nextVersion(line: Shell): Promise<{ readonly version: string; readonly program: string }> {
  const dir = join(line.dir, '../next');
  for (const part of ['bin', 'etc', 'src', 'migrations', 'tools', 'wsdl', 'package.json', 'tsconfig.json']) {
    cpSync(join(ROOT, part), join(dir, part), { recursive: true, filter: (from) => !from.includes('node_modules') });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const change = (name: string, edit: (text: string) => string): void => writeFileSync(join(dir, name), edit(readFileSync(join(dir, name), 'utf8')));
  const version = '99.0.0';
  change('package.json', (text) => JSON.stringify({ ...JSON.parse(text) as object, version }));
  writeFileSync(join(dir, 'migrations/9999_next.ts'), "import type { Knex } from 'knex';\nexport const up = async (knex: Knex): Promise<void> => { await knex.raw('CREATE TABLE next (n int); INSERT INTO next VALUES (1)'); };\n");
  change('migrations/index.ts', (text) => text.replace('\n\nexport interface', "\nimport * as m9999 from './9999_next.ts';\n\nexport interface").replace(/\n\];\n$/, "\n  { name: '9999_next', up: m9999.up },\n];\n"));
  await line.run(`npm --prefix ${dir} run build`);
  return { version, program: join(dir, 'bin/nimbus.mjs') };
}

describe.skipIf(!hasPart('sshd'))('recipes', () => {
  let keep: TestDatabase;
  let set: SshdSet;
  let admin: { privateFile: string; publicLine: string };
  let open: { line: Shell; root: string } | undefined;
  beforeAll(async () => {
    keep = await openEmptyDatabase();
    set = sshdSet();
    admin = set.key('cluster');
  });
  afterEach(async () => {
    await stopService();
    open?.line.end();
    if (open !== undefined) rmSync(open.root, { recursive: true, force: true });
    open = undefined;
  });
  afterAll(async () => {
    await set.close();
    await keep.close();
  });

  const shell = (): Shell => {
    if (open === undefined) throw new Error('no site was opened');
    return open.line;
  };
  const recipe = (title: string): readonly string[] => {
    const found = RECIPES.get(title);
    if (found === undefined || found.length === 0) throw new Error(`the page has no recipe ${title}`);
    return found;
  };
  const [install = '', stop = '', start = ''] = RECIPES.get('Install a service') ?? [];
  const json = async <T>(command: string): Promise<T> => JSON.parse(await shell().run(`nimbus ${command} --json`, true)) as T;
  const file = (name: string): string => join(shell().dir, name);

  async function stopService(): Promise<void> {
    if (open === undefined || !existsSync(join(open.line.dir, 'ready.json'))) return;
    const { pid } = JSON.parse(readFileSync(join(open.line.dir, 'ready.json'), 'utf8')) as { pid: number };
    process.kill(pid, 'SIGTERM');
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 60_000 }).toBe(false);
  }

  /** `nimbus` is this program from now on. */
  function putInPlace(program: string): void {
    const file = join(open?.root ?? '', 'bin', 'nimbus');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^exec .*"\$@"$/m, `exec ${process.execPath} ${program} "$@"`));
  }

  /** A fresh directory, `nimbus` on the PATH, a service as the page installs it. */
  async function site(edit = ''): Promise<void> {
    const root = mkdtempSync(join(tmpdir(), 'rc-'));
    for (const dir of ['bin', 'home/.ssh', 'site']) mkdirSync(join(root, dir), { recursive: true, mode: 0o700 });
    // The default configuration, on free ports and with VMs that need no QEMU.
    const config = `sed -e 's|^listen = "127.0.0.1:844[45]"|listen = "127.0.0.1:0"|' -e 's|^driver = "auto"|driver = "simulated"|' ${edit} ${ROOT}/etc/nimbus.toml`;
    writeFileSync(join(root, 'bin', 'nimbus'), `#!/bin/sh\nif [ "$*" = config ]; then exec ${config}; fi\nexec ${process.execPath} ${NIMBUS} "$@"\n`);
    chmodSync(join(root, 'bin', 'nimbus'), 0o755);
    writeFileSync(join(root, 'home', '.ssh', 'cluster'), readFileSync(admin.privateFile), { mode: 0o600 });
    open = { root, line: new Shell(join(root, 'site'), { PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`, HOME: join(root, 'home') }) };
    await shell().run(install);
  }

  async function node7(): Promise<Sshd> {
    const sshd = await set.make();
    writeFileSync(sshd.authorizedKeys, `${admin.publicLine}\n`, { mode: 0o600 });
    await shell().run(`nimbus node add ${sshd.host} --name node7 --user ${sshd.user} --port ${sshd.port} --host-key '${sshd.hostKey}' --install-key ~/.ssh/cluster --memory 512 --cores 4 --driver simulated --zone rack7`);
    return sshd;
  }

  async function leases(count: number, zone: string): Promise<void> {
    const { ec2 } = JSON.parse(readFileSync(file('ready.json'), 'utf8')) as { ec2: string };
    const user = `u${Math.floor(performance.now())}`;
    const keys = await json<{ accessKey: string; secretKey: string }>(`user add ${user}`);
    const client = new EC2Client({ endpoint: ec2, region: 'nimbus', credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey } });
    await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: count, MaxCount: count, Placement: { AvailabilityZone: zone } }));
    client.destroy();
    // Those that ran before do not count for these.
    await expect.poll(async () => (await json<LeaseView[]>('lease list')).filter((l) => l.state !== 'Running'), { timeout: 60_000 }).toEqual([]);
  }
  const gone = (): Promise<void> => expect.poll(() => json<LeaseView[]>('lease list'), { timeout: 60_000 }).toEqual([]);
  const node = async (name: string): Promise<NodeView | undefined> => (await json<NodeView[]>('node list')).find((n) => n.name === name);
  async function all(title: string): Promise<void> {
    for (const block of recipe(title)) await shell().run(block);
  }

  it('install, stop, start', { timeout: 600_000 }, async () => {
    await site();
    await leases(2, 'default');
    await shell().run(stop);
    await shell().run(start);
    expect((await json<LeaseView[]>('lease list')).map((l) => l.state)).toEqual(['Running', 'Running']);
    await shell().run('nimbus lease list --json | node -p \'JSON.parse(fs.readFileSync(0)).map((l) => l.id).join("\\n")\' | xargs nimbus lease destroy');
    await gone();
  });

  it('upgrade to another version with another schema, and back', { timeout: 600_000 }, async () => {
    await site();
    await node7();
    const [before = '', agents = '', after = '', back = '', settled = ''] = recipe('Upgrade');
    // QEMU is not on every machine that runs this.
    const renew = agents.replace('--install-key', '--driver simulated --install-key');
    const version = async (): Promise<unknown> => [(await json<{ version: string }>('status')).version, (await node('node7'))?.agentVersion];
    const [old] = await version() as [string];
    await leases(2, 'rack7');
    const running = (await json<LeaseView[]>('lease list')).map((l) => l.id).sort();
    await shell().run(before);
    const next = await nextVersion(shell());

    await shell().run(stop);
    putInPlace(next.program);
    await shell().run(start);
    await expect.poll(version, { message: 'an agent of the version before still works' }).toEqual([next.version, old]);
    await shell().run(renew);
    await expect.poll(version).toEqual([next.version, next.version]);
    await shell().run(after);
    expect((await json<LeaseView[]>('lease list')).map((l) => [l.id, l.state]).sort()).toEqual(running.map((id) => [id, 'Running']));
    await leases(1, 'rack7');

    await shell().run(stop);
    putInPlace(NIMBUS);
    expect(await shell().run('nimbus serve --config nimbus.toml --data ./nimbus-data 2>&1 || true')).toMatch(/the database was written by a newer nimbus \(its schema has 9999_next\)/);
    expect(await shell().run(back)).toMatch(/restored: 2 leases/);
    await shell().run(start);
    await expect.poll(version, { message: 'an agent of the version after works with it' }).toEqual([old, next.version]);
    await shell().run(settled);
    await leases(1, 'rack7');
    await shell().run(`nimbus lease destroy ${(await json<LeaseView[]>('lease list')).map((l) => l.id).filter((id) => !running.includes(id)).join(' ')}`);
    await expect.poll(async () => (await json<LeaseView[]>('lease list')).length, { timeout: 60_000 }).toBe(2);
    expect((await json<LeaseView[]>('lease list')).map((l) => [l.id, l.state]).sort()).toEqual(running.map((id) => [id, 'Running']));
  });

  it('back up, then restore: over what is there, and on a new machine', { timeout: 600_000 }, async () => {
    await site();
    await leases(2, 'default');
    await all('Back up');
    const [made = ''] = readdirSync(shell().dir).filter((f) => f.endsWith('.backup'));
    await shell().run(`cp ${made} nimbus.backup`);
    await leases(1, 'default');
    // An image that the backup does not know.
    writeFileSync(file('thesis.raw'), Buffer.alloc(1024, 3));
    const thesis = await json<{ id: string }>('image add thesis thesis.raw --owner alice');
    const stored = file(`nimbus-data/images/alice/${thesis.id}.raw`);
    const [restore = '', settled = '', well = ''] = recipe('Restore');
    await shell().run(stop);
    expect(await shell().run(restore)).toMatch(/restored: 2 leases[\s\S]*which no live lease knows/);
    await shell().run(start);
    const shown = await shell().run(settled);
    expect(readFileSync(stored).equals(Buffer.alloc(1024, 3))).toBe(true);
    const [, again = ''] = /add it again with: (nimbus image add NAME --owner alice \S+\.raw);/.exec(shown) ?? [];
    await shell().run(`${again.replace('NAME', 'thesis')} && rm ${stored}`);
    await shell().run(well);
    expect((await json<Array<{ name: string }>>('image list')).map((i) => i.name).sort()).toEqual(['nimbus-guest', 'thesis']);
    expect((await json<LeaseView[]>('lease list')).map((l) => l.state)).toEqual(['Running', 'Running']);

    await shell().run(stop);
    await shell().run('mv nimbus-data lost && nimbus restore --config nimbus.toml nimbus.backup');
    await shell().run(start);
    // Its VMs stayed on the machine that is gone.
    await shell().run(settled);
    await gone();
    expect((await json<Array<{ name: string }>>('user list')).map((u) => u.name)).toContain('alice');
  });

  it('drain a node', { timeout: 600_000 }, async () => {
    await site();
    await node7();
    await leases(2, 'rack7');
    const [drain = '', end = '', back = ''] = recipe('Drain a node');
    await shell().run(drain);
    expect(await node('node7')).toMatchObject({ active: false, leases: 2 });
    await shell().run(end);
    await gone();
    await shell().run(back);
    expect(await node('node7')).toMatchObject({ active: true, leases: 0 });
  });

  it('a lost node', { timeout: 600_000 }, async () => {
    await site();
    const sshd = await node7();
    await leases(2, 'rack7');
    await sshd.stop();
    await all('A lost node');
    expect(await node('node7')).toBeUndefined();
    await gone();
  });

  it('a lost database host', { timeout: 600_000 }, async () => {
    const [lost, fresh] = [await openEmptyDatabase(), await openEmptyDatabase()];
    await lost.db.close();
    await fresh.db.close();
    const url = ({ address: a }: TestDatabase): string => `postgres://${a.user ?? ''}:${encodeURIComponent(a.password ?? '')}@/${a.database ?? ''}?host=${encodeURIComponent(a.host ?? '')}`;
    await site(`-e '/^.database/,/^.lease/ s|^url = ""|url = "${url(lost)}"|'`);
    await leases(2, 'default');
    await shell().run('nimbus backup --images nimbus.backup');
    await keep.db.query({ name: 'test-lost', text: `DROP DATABASE ${lost.address.database ?? ''} WITH (FORCE)` });
    await shell().run(stop);
    const [move = '', settled = ''] = recipe('A lost database host');
    await shell().run(move.replace('postgres://nimbus:PASSWORD@db2.example.org/nimbus', url(fresh).replaceAll('&', '\\&')));
    await shell().run(start);
    await shell().run(settled);
    expect((await json<LeaseView[]>('lease list')).map((l) => l.state)).toEqual(['Running', 'Running']);
    expect(await json<FsckReport>('fsck')).toMatchObject({ problems: [], notes: [] });
    await stopService();
    await Promise.all([lost.close(), fresh.close()]);
  });

  it('rotate keys', { timeout: 600_000 }, async () => {
    await site();
    const sshd = await node7();
    const before = readFileSync(file('nimbus-data/keys/operate_ed25519.pub'), 'utf8');
    await all('Rotate keys');
    const after = readFileSync(file('nimbus-data/keys/operate_ed25519.pub'), 'utf8');
    expect(after).not.toBe(before);
    expect(readFileSync(sshd.authorizedKeys, 'utf8')).toContain(after.split(' ')[1]?.trim());
    const alice = (await json<Array<{ name: string; accessKeys: Array<{ active: boolean }> }>>('user list')).find((u) => u.name === 'alice');
    expect(alice?.accessKeys.map((k) => k.active).sort()).toEqual([false, true]);
  });
});

it('the page has a recipe for each', () => {
  expect([...RECIPES.keys()]).toEqual(['Install a service', 'Upgrade', 'Back up', 'Restore', 'Drain a node', 'A lost node', 'A lost database host', 'Rotate keys']);
});
