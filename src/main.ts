/** The `nimbus` program: composes everything. The only place that knows every room. */
import { resolve } from 'node:path';
import { buildCli } from './cli/program.ts';
import { requireAnswers, type Place } from './platform/answering.ts';
import { readConfig } from './platform/config.ts';
import { dataDirAt } from './platform/datadir.ts';
import { openLog } from './platform/log.ts';
import { realClock, realRandom } from './platform/real.ts';
import { startService } from './service.ts';
import { withoutService } from './without-service.ts';

interface ServeOptions {
  readonly config?: string | undefined;
  readonly data: string;
  readonly readyFile?: string | undefined;
}

/** A start that is told to stop has so long to come to its end, and is undone then. */
const START_ENDS_MS = 5_000;
/** What is under way after the last word; only a call to a file system that does not answer takes longer. */
const LAST_CALLS_MS = 5_000;

/** Runs until SIGTERM or SIGINT; a second signal does not wait for the clean end. */
async function serve(options: ServeOptions): Promise<void> {
  const asked = signalled();
  const given = asked.then(async (signal): Promise<never> => {
    await new Promise<void>((resolve) => void realClock.after(START_ENDS_MS, resolve, true));
    throw new Stopped(signal);
  });
  given.catch(() => undefined);
  try {
    await requireAnswers(realClock, placesOf(options), asked.then((signal) => { throw new Stopped(signal); }));
    const config = readConfig(options.config, { files: true });
    const opened = openLog(realClock, config.log);
    const ctx = { clock: realClock, random: realRandom, log: opened.log };
    const service = await startService({ ctx, config, dataDir: options.data, readyFile: options.readyFile, given });
    ctx.log.info('stopping', { signal: await asked });
    await service.stop();
    await opened.close();
  } catch (e) {
    endAnyhow(e instanceof Stopped ? e.signal : 'SIGKILL');
    if (!(e instanceof Stopped)) throw e;
  }
}

/** The start was told to stop. */
class Stopped extends Error {
  constructor(readonly signal: NodeJS.Signals) {
    super(`stopped by ${signal} before it had started`);
  }
}

function signalled(): Promise<NodeJS.Signals> {
  let stopping = false;
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (stopping) dieOf(signal);
        stopping = true;
        resolve(signal);
      });
    }
  });
}

/** Directories that a start cannot do without; what is wrong with the configuration is told by those who read it. */
function placesOf({ config, data }: ServeOptions): Place[] {
  const { images, log } = ((): { images?: { directory: string }; log?: { file: string } } => {
    try {
      return readConfig(config);
    } catch {
      return {};
    }
  })();
  const [directory, file] = [images?.directory ?? '', log?.file ?? ''];
  return [
    { what: 'the data directory --data', path: resolve(data) },
    // Some may be file systems of their own. One of a local node alone is not waited for: the others can be used without it.
    ...(['keys', 'run', 'nodes', 'images', 'log'] as const).map((sub) => ({ what: `the directory ${sub} in --data`, path: dataDirAt(data)[sub] })),
    ...(directory === '' ? [] : [{ what: 'images.directory', path: directory }]),
    ...(file === '' ? [] : [{ what: 'log.file', path: file }]),
  ];
}

/** A process with a call under way to a file system that does not answer cannot end by itself, nor by process.exit. */
function endAnyhow(signal: NodeJS.Signals): void {
  realClock.after(LAST_CALLS_MS, () => {
    if (process.getActiveResourcesInfo().some((kind) => kind.startsWith('FSReq'))) dieOf(signal);
  }, true);
}

function dieOf(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

process.exitCode = await buildCli({ serve, withoutService: withoutService({ clock: realClock, random: realRandom }) }).run(process.argv);
