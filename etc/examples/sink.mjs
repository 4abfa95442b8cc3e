/**
 * An accounting sink, as an example: appends usage events to a file, one JSON document a line. Events come at least once, so it
 * keeps the highest id that it has written and passes over what it has already.
 *
 *   [usage_sinks.file]
 *   module = "/etc/nimbus/sink.mjs"
 */
import { open, readFile } from 'node:fs/promises';

const FILE = process.env.USAGE_EVENTS_FILE ?? '/var/lib/nimbus/usage-events.jsonl';

export async function receive({ events }) {
  const written = await lastId();
  const fresh = events.filter((e) => BigInt(e.id) > written);
  if (fresh.length === 0) return;
  const file = await open(FILE, 'a');
  try {
    await file.write(fresh.map((e) => `${JSON.stringify(e)}\n`).join(''));
    // The service forgets an event when this function has returned.
    await file.sync();
  } finally {
    await file.close();
  }
}

async function lastId() {
  const text = await readFile(FILE, 'utf8').catch((e) => {
    if (e.code === 'ENOENT') return '';
    throw e;
  });
  const last = text.trimEnd().split('\n').at(-1);
  return last === undefined || last === '' ? -1n : BigInt(JSON.parse(last).id);
}
