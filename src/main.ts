/** The `nimbus` program: composes everything. The only place that knows every room. */
import { buildCli } from './cli/program.ts';
import { readConfig } from './platform/config.ts';
import { openLog } from './platform/log.ts';
import { realClock, realRandom } from './platform/real.ts';
import { startService } from './service.ts';
import { withoutService } from './without-service.ts';

interface ServeOptions {
  readonly config?: string | undefined;
  readonly data: string;
  readonly readyFile?: string | undefined;
}

/** Runs until SIGTERM or SIGINT; a second signal does not wait for the clean end. */
async function serve(options: ServeOptions): Promise<void> {
  const config = readConfig(options.config, { files: true });
  const opened = openLog(realClock, config.log);
  const ctx = { clock: realClock, random: realRandom, log: opened.log };
  const asked = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(1);
        stopping = true;
        resolve(signal);
      });
    }
  });
  let stopping = false;
  const service = await startService({ ctx, config, dataDir: options.data, readyFile: options.readyFile });
  ctx.log.info('stopping', { signal: await asked });
  await service.stop();
  await opened.close();
}

process.exitCode = await buildCli({ serve, withoutService: withoutService({ clock: realClock, random: realRandom }) }).run(process.argv);
