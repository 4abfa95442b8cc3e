/**
 * The state of a stopped VM, its memory above all, as a file of the agent's. QEMU sends it into a socket and is given it back
 * through one: under its filter it can start no program, and it need not be able to open the file. Pages of zeros take no room.
 *
 *   `memory.new`    is being written
 *   `memory.state`  whole, and no guest has run since
 *   `memory.spent`  a guest goes on from it, or has: it must not be used again, the disk is another by now
 */
import { constants } from 'node:fs';
import { chmod, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { syncDirectoryAsync } from '../../../../platform/durable.ts';
import { AgentFault } from '../../fault.ts';
import { exists } from './disk.ts';
import { FILES } from './launch.ts';
import type { Accelerator } from './launch.ts';

const MIB = 1024 * 1024;
/** What a VM's state may have besides its memory: devices, and a word for each page (QEMU, "Migration framework"). */
const BESIDES_MIB = 64;
const PIECE = 1024 * 1024;
const BROKEN_OFF = 'the writing of the memory was broken off';
/** The VM's uid connects; the directory above lets nobody else through (disk.ts, `closeParent`). */
const ANYONE = 0o666;

/** The most that the state of a VM may come to, bytes. */
export const largestState = (memoryMb: number): number => Math.ceil(memoryMb * MIB * (257 / 256)) + BESIDES_MIB * MIB;

export const memoryIsKept = (dir: string): Promise<boolean> => exists(join(dir, FILES.memory));

export async function dropMemory(dir: string): Promise<void> {
  for (const name of [FILES.memoryNew, FILES.memory, FILES.memoryFacts, FILES.memorySpent, FILES.memorySocket, FILES.memoryInlet]) await rm(join(dir, name), { force: true });
}

/** From here on the guest may have run; after a power cut too nobody goes on from it again. */
export async function spendMemory(dir: string): Promise<void> {
  await rename(join(dir, FILES.memory), join(dir, FILES.memorySpent));
  await syncDirectoryAsync(dir);
}
/** No guest has run after all. */
export const unspendMemory = (dir: string): Promise<void> => rename(join(dir, FILES.memorySpent), join(dir, FILES.memory));

export interface Receiver {
  /** Resolves with their number when QEMU has sent all, and the file is on disk; rejects when it is too long or cannot be written. */
  readonly received: Promise<number>;
  close(): void;
}

/** Listens for the state of the VM of `dir` and writes it to `memory.new`. */
export async function receiveMemory(dir: string, most: number, signal: AbortSignal): Promise<Receiver> {
  await rm(join(dir, FILES.memorySocket), { force: true });
  const file = await open(join(dir, FILES.memoryNew), 'wx', 0o600);
  const server = createServer();
  const counted = counter(most);
  const received = new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    signal.addEventListener('abort', () => reject(new AgentFault('DriverFailed', BROKEN_OFF)), { once: true });
    server.once('connection', (socket) => {
      server.close();
      pipeline(socket, counted.stream, file.createWriteStream({ autoClose: false, highWaterMark: PIECE }), { signal })
        .then(() => file.sync())
        .then(() => resolve(counted.bytes()), (e: unknown) => reject(asFault(e)));
    });
  });
  // Whoever gives up before that hears of it by other ways.
  received.catch(() => undefined);
  try {
    await inside(dir, (path) => new Promise<void>((resolve, reject) => void server.once('error', reject).listen(join(path, FILES.memorySocket), resolve)));
    await chmod(join(dir, FILES.memorySocket), ANYONE);
  } catch (e) {
    server.close();
    await file.close();
    throw e;
  }
  return {
    received,
    close() {
      server.close();
      void file.close().catch(() => undefined);
    },
  };
}

/** The VM goes on with what it ran with: a guest that was told of one processor cannot be given another. */
export interface MemoryFacts {
  readonly accelerator?: Accelerator | undefined;
}

export const readMemoryFacts = async (dir: string): Promise<MemoryFacts> => JSON.parse(await readFile(join(dir, FILES.memoryFacts), 'utf8')) as MemoryFacts;

/** `memory.new` is whole: known by its name, also after a power cut. */
export async function keepMemory(dir: string, facts: MemoryFacts): Promise<void> {
  await writeFile(join(dir, FILES.memoryFacts), JSON.stringify(facts), { mode: 0o600, flush: true });
  await rm(join(dir, FILES.memorySocket), { force: true });
  await rename(join(dir, FILES.memoryNew), join(dir, FILES.memory));
  await syncDirectoryAsync(dir);
  // The directory's own name: made for a VM, it did not have to last.
  await syncDirectoryAsync(dirname(dir));
}

/** QEMU knows by itself where the state ends, and may hang up before it hears so. */
const HUNG_UP = new Set(['ERR_STREAM_PREMATURE_CLOSE', 'EPIPE', 'ECONNRESET']);

/** Gives QEMU, which listens at `run/memory.sock`, what `memory.state` has. Whether it took all of that, its status says. */
export async function sendMemory(dir: string, signal: AbortSignal): Promise<void> {
  const file = await open(join(dir, FILES.memory), 'r');
  try {
    const socket = await inside(dir, (path) => connect(join(path, FILES.memoryInlet)));
    await pipeline(file.createReadStream({ highWaterMark: PIECE, autoClose: false }), socket, { signal });
  } catch (e) {
    if (!HUNG_UP.has((e as NodeJS.ErrnoException).code ?? '')) throw e;
  } finally {
    await file.close();
  }
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Through the open directory the path is short enough for any depth of the state directory (107 bytes, unix(7)). */
async function inside<T>(dir: string, work: (path: string) => Promise<T>): Promise<T> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await work(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}

function counter(most: number): { stream: Transform; bytes: () => number } {
  let bytes = 0;
  const stream = new Transform({
    highWaterMark: PIECE,
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > most) done(new AgentFault('DriverFailed', `QEMU sends more than the ${most} bytes that the VM's state may have`));
      else done(null, chunk);
    },
  });
  return { stream, bytes: () => bytes };
}

function asFault(e: unknown): AgentFault {
  if (e instanceof AgentFault) return e;
  if ((e as Error).name === 'AbortError') return new AgentFault('DriverFailed', BROKEN_OFF);
  const full = ['ENOSPC', 'EDQUOT'].includes((e as NodeJS.ErrnoException).code ?? '');
  return new AgentFault(full ? 'DiskFull' : 'DriverFailed', `the memory could not be written to its file: ${(e as Error).message}`, { cause: e });
}
