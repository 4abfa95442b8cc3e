/** A channel by a way over SSH that leads nowhere any more. */
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { realClock, type Clock } from '../../../src/control/agent/clock.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { ServiceChannel } from '../../../src/pilot/program/channel.ts';
import { Contacts } from '../../../src/pilot/program/contacts.ts';
import { manualClock } from '../../control/client/manual-clock.ts';
import { processesWith } from '../../support/processes.ts';
import { Service } from './service.ts';

/** What `ssh -W` does, without the SSH: joins its own streams with HOST:PORT, the word before the target. */
const JOIN = 'const [host,port]=process.argv.at(-2).split(":");const s=require("net").connect(port,host);process.stdin.pipe(s);s.pipe(process.stdout);s.on("close",()=>process.exit(0))';

let dir: string;
/** Its processes are known by it. */
const mark = (): string => `pilots@${basename(dir)}`;
let service: Service;
let channel: ServiceChannel | undefined;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ssh-way-'));
  service = new Service('sl-0123456789ab', true);
  await service.start();
});
afterEach(async () => {
  channel?.close();
  await service.stop();
  await vi.waitFor(() => expect(processesWith(mark())).toEqual([]), { timeout: 60_000 });
  rmSync(dir, { recursive: true, force: true });
});

it('is given up when nothing has come for a minute, and opened again', async () => {
  const manual = manualClock();
  // Pauses are real; what waits for longer waits for the test.
  const clock: Clock = { ...manual, after: (ms, fn, background) => (ms < 10_000 ? realClock : manual).after(ms, fn, background) };
  const program = join(dir, 'ssh');
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' -e '${JOIN}' -- "$@"\n`);
  chmodSync(program, 0o755);
  const streams: Readable[] = [];
  const served = (n: number): Promise<Readable> => service.wire.wait(() => streams[n]);
  channel = new ServiceChannel({
    clock, log: silentLog, credentials: service.credentials, contacts: new Contacts(['http://127.0.0.1:1']), cnonce: '0123456789abcdef', random: () => 0, deadlineMs: () => 20_000,
    name: { slot: 'sl-0123456789ab', host: 'node7', part: 0, pilot: '0123456789abcdef' },
    ssh: { program, credential: null, target: mark(), port: 22, listener: new URL(service.wire.url).host },
    serve: ({ input }) => {
      streams.push(input as Readable);
      service.wire.changed();
    },
  });
  channel.open();
  const first = await served(0);
  await manual.advance(45_000);
  const came = once(first, 'data');
  service.channels[0]?.write('{"ping":1}\n');
  await came;
  await manual.advance(45_000);
  expect(first.destroyed, 'a minute since it began, and not since something came').toBe(false);
  await manual.advance(15_000);
  expect(first.destroyed).toBe(true);
  expect((await served(1)).destroyed).toBe(false);
  await vi.waitFor(() => expect(processesWith(mark())).toHaveLength(1), { timeout: 60_000 });
});
