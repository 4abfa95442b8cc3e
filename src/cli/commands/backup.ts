import { createWriteStream, existsSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Transform, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Command } from 'commander';
import { checkBackup, type BackupContents } from '../../backup/check.ts';
import type { Restored } from '../../backup/restore.ts';
import { syncDirectoryAsync, syncFile } from '../../platform/durable.ts';
import { reasonText } from '../../platform/errors.ts';
import { dataDirOf, envOf, type CliDeps, type Env } from '../env.ts';
import { Unreachable, UsageError } from '../exit.ts';
import { bytes as size, counted } from '../format.ts';
import type { Place } from '../without-service.ts';

/** A line of progress for so many bytes. */
const TELL_BYTES = 64 * 1024 * 1024;

export function addBackupCommands(program: Command, deps: CliDeps): void {
  program.command('backup <file>')
    .description('write the database and the keys of the service into one file')
    .option('--images', 'with the image files')
    .option('--overwrite', 'replace a file that is there')
    .option('--config <file>', 'configuration to use while no service runs')
    .addHelpText('after', `
Examples:
  nimbus backup nimbus-2026-11-29.backup
  nimbus backup --images /backup/nimbus.backup --overwrite
  nimbus backup --config /etc/nimbus.toml --data /var/lib/nimbus nimbus.backup

The service may run: the backup is of one moment. The file is its owner's alone
(0600): secret keys of users and the service's own are in it. It is read again
before the command says that it is written.`)
    .action((file: string, o: { images?: boolean; overwrite?: boolean; config?: string }, command: Command) =>
      backup(envOf(command, deps), { config: o.config, data: dataDirOf(command, deps.env) }, resolve(file), { images: o.images === true, overwrite: o.overwrite === true }));

  program.command('restore <file>')
    .description('restore a backup, while no service runs')
    .option('--replace', 'give up what is in the database, and the keys that are there')
    .option('--check', 'read the file and say what is in it; nothing is restored')
    .option('--config <file>', 'configuration of the service')
    .addHelpText('after', `
Examples:
  nimbus restore --check nimbus.backup
  nimbus restore --data /var/lib/nimbus --config /etc/nimbus.toml nimbus.backup
  nimbus restore --replace nimbus.backup

The file is read whole before anything is changed; a restoration that fails or
is killed leaves everything as it was. A backup of an older version is brought
up to this one's schema; one of a newer version is refused.`)
    .action((file: string, o: { replace?: boolean; check?: boolean; config?: string }, command: Command) =>
      restore(envOf(command, deps), { config: o.config, data: dataDirOf(command, deps.env) }, resolve(file), o));
}

async function backup(env: Env, place: Place, file: string, o: { images: boolean; overwrite: boolean }): Promise<void> {
  if (existsSync(file) && !o.overwrite) throw new UsageError(`${file} is there already; name another file, or add --overwrite`);
  if (!existsSync(dirname(file))) throw new UsageError(`the directory ${dirname(file)} does not exist`);
  const draft = `${file}.part`;
  try {
    await write(env, place, draft, o.images);
    const contents = await checkBackup(draft);
    await rename(draft, file);
    await syncDirectoryAsync(dirname(file));
    const { size: bytes } = await stat(file);
    env.say({ file, bytes, ...contents }, `${file} is written: ${size(bytes)}, ${summary(contents)}`);
  } finally {
    await rm(draft, { force: true });
  }
}

async function write(env: Env, place: Place, draft: string, images: boolean): Promise<void> {
  await rm(draft, { force: true });
  const [sink, over] = openSink(env, draft);
  try {
    await env.client.download('/v1/backup', { images: String(images) }, sink);
  } catch (e) {
    if (!(e instanceof Unreachable && e.absent)) {
      sink.destroy();
      throw e;
    }
    if (env.io.watched) env.io.err('no service answers: reading its database instead\n');
    await env.withoutService.backup(place, { images }, sink);
  }
  await over;
  await syncFile(draft);
}

/** Where the bytes go, and when they are there. */
function openSink(env: Env, draft: string): [Writable, Promise<void>] {
  let bytes = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const told = Math.floor(bytes / TELL_BYTES);
      bytes += chunk.length;
      if (env.io.watched && Math.floor(bytes / TELL_BYTES) > told) env.io.err(`${size(bytes)} written\n`);
      done(null, chunk);
    },
  });
  const file = createWriteStream(draft, { mode: 0o600, flags: 'wx' });
  const over = finished(counter.pipe(file)).catch((e: unknown) => { throw new Error(`${draft} cannot be written: ${reasonText(e)}`, { cause: e }); });
  over.catch((e: unknown) => counter.destroy(e as Error));
  counter.on('error', () => file.destroy());
  return [counter, over];
}

async function restore(env: Env, place: Place, file: string, o: { replace?: boolean; check?: boolean }): Promise<void> {
  if (!existsSync(file)) throw new UsageError(`${file} does not exist`);
  if (o.check === true) {
    const contents = await checkBackup(file);
    return env.say({ file, ...contents }, `${file} is whole: ${summary(contents)}, made ${contents.at} by nimbus ${contents.version}`);
  }
  await refuseRunning(env);
  if (env.io.watched) env.io.err('reading the backup\n');
  const restored = await env.withoutService.restore(place, file, { replace: o.replace === true });
  env.say({ file, ...restored }, text(restored));
}

/** The lock of the data directory would refuse too; this names the way out. */
async function refuseRunning(env: Env): Promise<void> {
  try {
    await env.client.get('/v1/status');
  } catch (e) {
    if (e instanceof Unreachable && e.absent) return;
    throw e;
  }
  throw new UsageError('the service runs; stop it before you restore a backup');
}

function summary({ rows, files }: BackupContents): string {
  const of = (table: string): number => rows[table] ?? 0;
  const images = files.filter((f) => f.startsWith('images/')).length;
  return `${counted(of('lease'), 'lease')}, ${counted(of('account'), 'user')}, ${counted(of('usage_record'), 'usage record')}, ${images === 0 ? 'no images' : counted(images, 'image')}`;
}

function text(r: Restored): string {
  return [
    `restored: ${summary(r)}, as of ${r.at}`,
    ...(r.migrated.length === 0 ? [] : [`the schema was brought up to this version: ${r.migrated.join(', ')}`]),
    ...(r.missingImages.length === 0 ? [] : [`the files of ${counted(r.missingImages.length, 'image')} are not there: ${r.missingImages.join(', ')}`]),
    'start the service, and look at it with: nimbus fsck',
  ].map((l) => `${l}\n`).join('');
}
