/** A context for tests with real parts: real time and random, a log that is kept instead of written. */
import type { Context, Log, LogFields } from '../../src/platform/context.ts';
import { realClock, realRandom } from '../../src/platform/real.ts';

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: LogFields;
}

export interface TestContext extends Context {
  readonly lines: LogLine[];
}

export function testContext(overrides: Partial<Context> = {}): TestContext {
  const lines: LogLine[] = [];
  return { clock: realClock, random: realRandom, log: keptLog(lines, {}), ...overrides, lines };
}

function keptLog(lines: LogLine[], bound: LogFields): Log {
  const write = (level: LogLine['level']) => (message: string, fields: LogFields = {}): void => {
    lines.push({ level, message, fields: { ...bound, ...fields } });
  };
  return {
    debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'),
    debugging: true,
    child: (fields) => keptLog(lines, { ...bound, ...fields }),
  };
}
