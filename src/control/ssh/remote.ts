/** Single commands and files on a node, over a connection that the administrator's own key opened. */
import { basename, dirname } from 'node:path/posix';
import type { Client, SFTPWrapper, Stats } from 'ssh2';
import type { Random } from '../../platform/context.ts';

/** Characters that no POSIX shell, csh or fish gives a meaning. */
const PLAIN = /^[A-Za-z0-9_/.,:=@%+-]+$/;
const MAX_OUTPUT = 64 * 1024;

/** One word for the user's shell, through which sshd runs every command. @throws Error on control characters */
export function shellQuote(word: string): string {
  if (/[\x00-\x1f\x7f]/.test(word)) throw new Error('a control character in a path or argument');
  return PLAIN.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runRemote(client: Client, argv: readonly string[]): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    client.exec(argv.map(shellQuote).join(' '), (e, channel) => {
      if (e !== undefined) return reject(new Error(`the host runs no commands for this key: ${e.message}`, { cause: e }));
      let [stdout, stderr] = ['', ''];
      let code: number | null = null;
      channel.on('data', (b: Buffer) => { stdout = `${stdout}${b.toString('utf8')}`.slice(-MAX_OUTPUT); });
      channel.stderr.on('data', (b: Buffer) => { stderr = `${stderr}${b.toString('utf8')}`.slice(-MAX_OUTPUT); });
      channel.on('exit', (status: number | null) => { code = status; });
      channel.on('close', () => resolve({ code, stdout, stderr }));
      channel.end();
    });
  });
}

export interface RemoteFiles {
  home(): Promise<string>;
  /** Makes the directory when it is missing, 0700. */
  ensureDirectory(path: string): Promise<void>;
  /** Text of a file, or undefined when there is none. */
  read(path: string, maxBytes: number): Promise<string | undefined>;
  /** Replaces the file in one step, following a symbolic link to what it stands for. */
  write(path: string, content: string | { readonly file: string }, mode: number, onBytes?: (sent: number, total: number) => void): Promise<void>;
  end(): void;
}

type Callback<T> = (e: (Error & { code?: number | string }) | null | undefined, value: T) => void;
const call = <T>(start: (done: Callback<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => start((e, value) => (e === null || e === undefined ? resolve(value) : reject(e))));

/** SSH_FX_NO_SUCH_FILE (draft-ietf-secsh-filexfer-02, 7) */
const NO_SUCH_FILE = 2;

export async function remoteFiles(client: Client, random: Random): Promise<RemoteFiles> {
  const sftp = await call<SFTPWrapper>((done) => client.sftp(done)).catch((e: unknown) => {
    throw new Error('the host offers no SFTP; enable "Subsystem sftp internal-sftp" in its sshd_config', { cause: e });
  });
  const stat = (path: string): Promise<Stats | undefined> =>
    call<Stats>((done) => sftp.stat(path, done)).catch((e: { code?: number }) => {
      if (e.code === NO_SUCH_FILE) return undefined;
      throw new Error(`${path}: ${String(e)}`, { cause: e });
    });
  return {
    home: () => call<string>((done) => sftp.realpath('.', done)),
    async ensureDirectory(path) {
      if ((await stat(path)) !== undefined) return;
      await named(path, call<void>((done) => sftp.mkdir(path, { mode: 0o700 }, (e) => done(e, undefined))));
    },
    async read(path, maxBytes) {
      const found = await stat(path);
      if (found === undefined) return undefined;
      if (found.size > maxBytes) throw new Error(`${path} has ${found.size} bytes, more than ${maxBytes}`);
      return (await named(path, call<Buffer>((done) => sftp.readFile(path, done)))).toString('utf8');
    },
    async write(path, content, mode, onBytes) {
      const target = (await stat(path)) === undefined ? path : await call<string>((done) => sftp.realpath(path, done));
      const temporary = `${dirname(target)}/.${basename(target)}.${random.bytes(6).toString('hex')}`;
      try {
        await named(temporary, put(sftp, temporary, content, mode, onBytes));
        await named(temporary, call<void>((done) => sftp.chmod(temporary, mode, (e) => done(e, undefined))));
        // Plain SFTP rename does not replace a file; OpenSSH's extension does, in one step.
        await named(target, call<void>((done) => sftp.ext_openssh_rename(temporary, target, (e) => done(e, undefined))));
      } catch (e) {
        await call<void>((done) => sftp.unlink(temporary, (err) => done(err, undefined))).catch(() => undefined);
        throw e;
      }
    },
    end: () => sftp.end(),
  };
}

function put(sftp: SFTPWrapper, path: string, content: string | { readonly file: string }, mode: number, onBytes?: (sent: number, total: number) => void): Promise<void> {
  if (typeof content === 'string') return call<void>((done) => sftp.writeFile(path, content, { mode }, (e) => done(e, undefined)));
  const step = (sent: number, _chunk: number, total: number): void => onBytes?.(sent, total);
  return call<void>((done) => sftp.fastPut(content.file, path, { mode, step }, (e) => done(e, undefined)));
}

function named<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((e: unknown) => {
    throw new Error(`${path}: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
  });
}
