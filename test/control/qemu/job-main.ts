/** An agent in a program of its own, as a pilot contains it: `job-main STATE-DIRECTORY`. It notes signals and goes on. */
import { realClock } from '../../../src/control/agent/clock.ts';
import { DEFAULTS } from '../../../src/control/agent/config.ts';
import { openAgent } from '../../../src/control/agent/open.ts';

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.stderr.write(`${signal}\n`));
const agent = await openAgent({
  stateDir: process.argv[2] ?? '', driver: 'qemu', config: DEFAULTS, clock: realClock, persistent: true, inJob: true, onRelease: () => undefined,
});
agent.serve({ input: process.stdin, output: process.stdout, name: 'stdio' });
