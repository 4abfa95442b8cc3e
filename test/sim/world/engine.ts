/**
 * PostgreSQL, compiled to WebAssembly, as PGlite packs it. Bytes of its protocol go in, and those of its answer are there when the call
 * returns. Its clock and its random numbers are the world's. All that it is, its memory and its files, can be put back as it was: so
 * a seed begins with the same bytes whatever ran before it. For that it goes past PGlite to what Emscripten made: its version is pinned.
 */
import { MemoryFS, PGlite, type postgresMod } from '@electric-sql/pglite';
import { filesOf, type FileSystem } from './files.ts';
import { Dice } from './random.ts';
import { EPOCH } from './time.ts';

interface Module extends postgresMod.PostgresMod {
  readonly MEMFS: FileSystem['MEMFS'];
}
interface Memory {
  /** Another one when it has grown. */
  readonly buffer: ArrayBuffer;
}
interface Imports {
  readonly env: { readonly memory: Memory };
  readonly wasi_snapshot_preview1: object;
}
interface Instance {
  /** Its result is where it is written how far memory is in use. */
  readonly exports: { readonly emscripten_get_sbrk_ptr: () => number };
}
interface Devices {
  unlink(path: string): void;
  createDevice(directory: string, name: string, byte: () => number): void;
}
type Instantiate = (imports: Imports, done: (instance: Instance, module: unknown) => void) => unknown;

/** What the server gives to `exit` where C would jump out of an error, to its main loop. */
const JUMPED = 100;
/** A message to the server may be as long as a longest value; most answers are shorter than a kilobyte. */
const ANSWER = 65_536;

const NOTHING_OUTLIVES_THE_PROCESS = { wal_level: 'minimal', max_wal_senders: 0, full_page_writes: 'off', synchronous_commit: 'off' };
const NOBODY_LOOKS = { track_counts: 'off', track_activities: 'off', compute_query_id: 'off', update_process_title: 'off' };
/** All tables fit, and it is copied for each seed. */
const SMALL = { shared_buffers: '16MB', max_connections: 5, wal_buffers: '256kB' };
const SETTINGS = Object.entries({ ...NOTHING_OUTLIVES_THE_PROCESS, ...NOBODY_LOOKS, ...SMALL }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

/** Files in memory, and a clock and random numbers that are ours. */
class Surroundings extends MemoryFS {
  now: () => number = () => EPOCH;
  random = new Dice('postgres');
  #instance: Instance | undefined;
  #memory: Memory = { buffer: new ArrayBuffer(0) };
  #words = new Uint32Array(0);

  /** All memory that is in use: what is behind it is zero. */
  get used(): Uint8Array {
    const { buffer } = this.#memory;
    return new Uint8Array(buffer, 0, new DataView(buffer).getUint32(this.#instance?.exports.emscripten_get_sbrk_ptr() ?? 0, true));
  }

  override async init(pg: PGlite, options: Partial<postgresMod.PostgresMod>): Promise<{ emscriptenOpts: Partial<postgresMod.PostgresMod> }> {
    const { emscriptenOpts } = await super.init(pg, options);
    const { instantiateWasm } = emscriptenOpts as { instantiateWasm: Instantiate };
    const ours: Instantiate = (imports, done) => {
      this.#memory = imports.env.memory;
      Object.assign(imports.env, { emscripten_date_now: () => this.#ms() });
      Object.assign(imports.wasi_snapshot_preview1, {
        clock_time_get: (_clock: number, _precision: bigint, at: number) => this.#tellTime(at),
      });
      return instantiateWasm(imports, (instance, module) => {
        this.#instance = instance;
        done(instance, module);
      });
    };
    const ownRandom = ({ FS }: { FS: Devices }): void => {
      FS.unlink('/dev/urandom');
      FS.createDevice('/dev', 'urandom', () => this.random.int(0, 255));
    };
    return { emscriptenOpts: { ...emscriptenOpts, instantiateWasm: ours as never, preRun: [...emscriptenOpts.preRun ?? [], ownRandom as never] } };
  }

  /** The middle of a µs: a number has no room for much more, and the server cuts off what is less. */
  #ms(): number {
    return Math.round(this.now() * 1000) / 1000 + 0.000_5;
  }

  /** ns since the epoch, in 64 bits. */
  #tellTime(at: number): 0 {
    if (this.#words.buffer !== this.#memory.buffer) this.#words = new Uint32Array(this.#memory.buffer);
    const ns = Math.round(this.#ms() * 1e6);
    const high = Math.floor(ns / 2 ** 32);
    this.#words[at / 4] = ns - high * 2 ** 32;
    this.#words[at / 4 + 1] = high;
    return 0;
  }
}

export class Engine {
  readonly #module: Module;
  #question: Uint8Array = new Uint8Array(0);
  #asked = 0;
  #answer = Buffer.alloc(ANSWER);
  #answered = 0;

  private constructor(private readonly pglite: PGlite, private readonly surroundings: Surroundings) {
    this.#module = pglite.Module as Module;
    this.#module._pgl_set_rw_cbs(this.#module.addFunction((at, length) => this.#read(at, length), 'ipi'), this.#module.addFunction((at, length) => this.#write(at, length), 'ipi'));
  }

  /** @param prepare done before the protocol is spoken */
  static async open(prepare: (pglite: PGlite) => Promise<void>): Promise<Engine> {
    const surroundings = new Surroundings();
    const pglite = await PGlite.create({ fs: surroundings, startParams: [...PGlite.defaultStartParams, ...SETTINGS], initDbStartParams: ['--no-data-checksums', '--wal-segsize=1'] });
    await prepare(pglite);
    return new Engine(pglite, surroundings);
  }

  /** What its clock shows, ms since the epoch. */
  set now(now: () => number) {
    this.surroundings.now = now;
  }

  close(): Promise<void> {
    return this.pglite.close();
  }

  /** @returns the answer, until it is asked again */
  ask(question: Uint8Array): Buffer {
    const m = this.#module;
    this.#question = question;
    this.#asked = 0;
    this.#answered = 0;
    // One message at a time.
    while (this.#asked < question.length || m._pq_buffer_remaining_data() > 0) {
      const stack = m.stackSave();
      try {
        m._PostgresMainLoopOnce();
      } catch (e) {
        if ((e as { status?: number }).status !== JUMPED) throw e;
        m.stackRestore(stack);
        m._PostgresMainLongJmp();
      }
    }
    m._PostgresSendReadyForQueryIfNecessary();
    m._pgl_pq_flush();
    return this.#answer.subarray(0, this.#answered);
  }

  /** What it is now, to be put back as often as it is called. */
  snapshot(): () => void {
    const memory = this.surroundings.used.slice();
    const files = filesOf(this.#module as unknown as FileSystem);
    return () => {
      const { used } = this.surroundings;
      used.fill(0, memory.length);
      used.set(memory);
      files();
      this.surroundings.random = new Dice('postgres');
      this.surroundings.now = () => EPOCH;
    };
  }

  /** The server reads. */
  #read(at: number, most: number): number {
    const length = Math.min(most, this.#question.length - this.#asked);
    this.#module.HEAPU8.set(this.#question.subarray(this.#asked, this.#asked + length), at);
    this.#asked += length;
    return length;
  }

  /** The server writes. */
  #write(at: number, length: number): number {
    const end = this.#answered + length;
    if (end > this.#answer.length) this.#answer = Buffer.concat([this.#answer], 2 * end);
    this.#answer.set(this.#module.HEAPU8.subarray(at, at + length), this.#answered);
    this.#answered = end;
    return length;
  }
}
