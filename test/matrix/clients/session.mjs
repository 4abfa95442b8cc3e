/**
 * The session that every client plays: what is done, and in which order. How is said by the client's own script.
 *
 * usage: SCRIPT session|guest ENDPOINT IMAGE ROW KEYFILE [SIGNATURE]      credentials and INSTANCE_TYPE are in the environment
 * Prints a JSON line for each step, and for each refusal as the client shows it. `guest` is one instance that can be entered.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

export const [MODE, ENDPOINT, IMAGE, ROW, KEY_FILE, SIGNATURE] = process.argv.slice(2);
export const { INSTANCE_TYPE } = process.env;
const USER_DATA = `user data of ${ROW}\n`;
const WAIT_MS = 240_000;

/** The client has no such thing; the text says why. */
export class NotOffered extends Error {}

/** What `check` gives as soon as it gives something. */
export async function until(check) {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (performance.now() > end) throw new Error(`nothing after ${WAIT_MS} ms`);
    await pause(250);
  }
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** `client` has a method for each step; `wrong` is one with another's secret. */
export async function play(client, wrong) {
  say({ version: client.version });
  await (MODE === 'guest' ? enter(client) : session(client, wrong));
}

async function step(client, name, run) {
  try {
    const saw = await run();
    say({ step: name, saw, how: client.how?.[name] });
    return saw;
  } catch (e) {
    if (!(e instanceof NotOffered)) throw e;
    return say({ step: name, missing: e.message });
  }
}

async function refusal(client, name, run) {
  try {
    await run();
    say({ refusal: name, code: null });
  } catch (e) {
    say({ refusal: name, ...(e instanceof NotOffered ? { missing: e.message } : client.shown(e)) });
  }
}

async function enter(client) {
  const key = `${ROW} guest`;
  writeFileSync(KEY_FILE, `${(await client.keyPair(key)).trimEnd()}\n`, { mode: 0o600 });
  const ids = await client.run(IMAGE, 1, key, USER_DATA);
  await client.wait(ids, 'running');
  await step(client, 'way in', async () => ({ ...await client.wayIn(ids[0]), id: ids[0], userData: USER_DATA }));
  process.stdin.resume();
  await once(process.stdin, 'end');
  await client.terminate(ids);
  await client.wait(ids, 'terminated');
}

async function session(client, wrong) {
  const tag = `${ROW} é+~/ 1`;
  const does = (name, run) => step(client, name, run);
  await does('images', () => client.images());
  await does('key pair', () => client.keyPair(ROW));
  const ids = await does('run', () => client.run(IMAGE, 2, ROW, USER_DATA));
  await does('running', () => client.wait(ids, 'running'));
  await does('console', () => until(async () => {
    const said = await client.console(ids[0]);
    return said.includes(ids[0]) && said;
  }));
  await does('tags', () => client.tag(ids[0], tag));
  await does('filter', () => client.find(tag));
  await does('wildcard', () => client.find(`${ROW} *`));
  await does('reboot', () => client.reboot(ids));
  await does('terminate', () => client.terminate(ids));
  await does('terminated', () => client.wait(ids, 'terminated'));
  const refuses = (name, run) => refusal(client, name, run);
  await refuses('unknown instance', () => client.look('i-00000000'));
  await refuses('unknown image', () => client.run('ami-00000000', 1, ROW, USER_DATA));
  await refuses('second key pair', () => client.keyPair(ROW));
  await refuses('wrong secret', () => wrong.images());
  await refuses('tried or out of range', () => client.tryRun(IMAGE));
}
