/**
 * A machine of its own with systemd as process 1, in namespaces of this one: its own processes, mounts, cgroups and accounts, this
 * one's programs and network. It can be shut down and booted again. Needs root.
 */
import { randomBytes } from 'node:crypto';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { vi } from 'vitest';
import { cgroupRoot } from '../parts.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const BOOT = fileURLToPath(new URL('../fixtures/systemd-machine.sh', import.meta.url));
/** What accounts, name look-ups and sudo need; nothing that this machine starts at its boot. */
const ETC = ['passwd', 'group', 'shadow', 'gshadow', 'login.defs', 'default', 'nsswitch.conf', 'host.conf', 'resolv.conf', 'protocols', 'services', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d',
  'alternatives', 'ssl', 'pam.d', 'pam.conf', 'security', 'sudoers', 'sudoers.d', 'sudo.conf', 'localtime', 'shells', 'os-release', 'debian_version'];
const DIRS = ['usr', 'opt/nimbus', 'proc', 'sys', 'dev', 'run', 'mnt', 'etc/systemd/system', 'var/lib', 'var/log/journal', 'root'];
const OF_PROJECT = ['bin', 'dist', 'etc', 'node_modules', 'wsdl', 'docs'];
const COMMAND_MS = 240_000;
const END_MS = 150_000;
const run = promisify(execFile);

export interface Said {
  readonly code: number;
  readonly out: string;
}

export class SystemdMachine {
  readonly root = mkdtempSync(join(tmpdir(), 'systemd-'));
  readonly #cgroup = join(cgroupRoot() ?? '', this.root.split('/').at(-1) ?? '');
  #child: ChildProcess | undefined;
  #init = 0;
  #said = '';

  constructor() {
    chmodSync(this.root, 0o755);
    for (const dir of [...DIRS, ...OF_PROJECT.map((d) => `opt/nimbus/${d}`)]) mkdirSync(join(this.root, dir), { recursive: true });
    for (const dir of ['tmp', 'var/tmp']) {
      mkdirSync(join(this.root, dir), { recursive: true });
      chmodSync(join(this.root, dir), 0o1777);
    }
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(this.root, name));
    symlinkSync('/run', join(this.root, 'var/run'));
    for (const name of ETC) if (existsSync(join('/etc', name))) cpSync(join('/etc', name), join(this.root, 'etc', name), { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    writeFileSync(join(this.root, 'etc/machine-id'), `${randomBytes(16).toString('hex')}\n`);
    writeFileSync(join(this.root, 'etc/hostname'), 'site\n');
    writeFileSync(join(this.root, 'etc/hosts'), '127.0.0.1 localhost\n127.0.1.1 site\n');
    // There is no terminal.
    symlinkSync('/dev/null', join(this.root, 'etc/systemd/system/getty.target'));
  }

  /** Resolves when systemd says that everything is started. */
  async boot(): Promise<void> {
    mkdirSync(this.#cgroup, { recursive: true });
    const inCgroup = `echo $$ >"${join(this.#cgroup, 'cgroup.procs')}" && exec "$@"`;
    // All of it ends when this process does.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'sh', '-c', inCgroup, 'sh', 'unshare', '--pid', '--fork', '--kill-child', '--mount', '--cgroup', '--ipc', '--uts', '--propagation', 'private',
      'sh', BOOT, this.root, PROJECT.replace(/\/$/, ''), dirname(process.execPath)], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const out of [child.stdout, child.stderr]) out.on('data', (chunk: Buffer) => { this.#said = (this.#said + chunk.toString()).slice(-10_000); });
    this.#init = await firstChild(child, () => this.#said);
    const { code, out } = await this.run('systemctl', 'is-system-running', '--wait');
    if (code !== 0) throw new Error(`the machine is ${out}${this.#said}${(await this.run('systemctl', '--failed', '--no-pager')).out}${(await this.run('journalctl', '--no-pager', '-n', '40')).out}`);
  }

  /** A command in the machine, as root. */
  async run(...argv: readonly string[]): Promise<Said> {
    const within = ['--target', String(this.#init), '--mount', '--pid', '--cgroup', '--ipc', '--uts', '--root', 'env', '-i', '--chdir=/opt/nimbus', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', ...argv];
    try {
      const { stdout, stderr } = await run('nsenter', within, { timeout: COMMAND_MS, maxBuffer: 2 ** 24 });
      return { code: 0, out: stdout + stderr };
    } catch (e) {
      const { code, stdout = '', stderr = '' } = e as { code?: number; stdout?: string; stderr?: string };
      if (typeof code !== 'number') throw e;
      return { code, out: stdout + stderr };
    }
  }

  /** Its output, where it must succeed. */
  async do(...argv: readonly string[]): Promise<string> {
    const { code, out } = await this.run(...argv);
    if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}:\n${out}`);
    return out;
  }

  /** As somebody types it who shuts it down: units are stopped, then whatever is left ends. */
  async shutDown(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit', { signal: AbortSignal.timeout(COMMAND_MS) });
    await this.run('systemctl', '--no-block', 'poweroff').catch(() => undefined);
    await ended;
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit', { signal: AbortSignal.timeout(END_MS) });
      child.kill('SIGKILL');
      await ended;
    }
    await removeCgroup(this.#cgroup);
    rmSync(this.root, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** systemd's pid here: the one child of unshare, which `child` became. */
async function firstChild(child: ChildProcess, said: () => string): Promise<number> {
  const children = `/proc/${child.pid ?? 0}/task/${child.pid ?? 0}/children`;
  const found = await vi.waitFor(() => {
    if (child.exitCode !== null) return undefined;
    const pid = Number(readFileSync(children, 'utf8').trim().split(' ')[0]);
    if (pid > 0 && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'systemd' && existsSync(`/proc/${pid}/root/run/systemd/private`)) return pid;
    throw new Error(`systemd did not start: ${said()}`);
  }, { timeout: END_MS });
  if (found === undefined) throw new Error(`the machine ended with ${child.exitCode ?? 'a signal'}: ${said()}`);
  return found;
}

/** The kernel takes processes out of their cgroup a moment after their end. */
async function removeCgroup(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) await removeCgroup(join(dir, entry.name));
  await vi.waitFor(() => rmdirSync(dir), { timeout: END_MS });
}
