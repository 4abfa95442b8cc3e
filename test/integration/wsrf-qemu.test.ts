/**
 * What a grid client asks of a workspace, done to a real VM: a guest that counts on its console stands still while it is paused,
 * has no process while it is serialized, and goes on where it was, also after its node's agent and the service were killed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { TYPES, WORKSPACE } from '../../src/wsrf/wire/names.ts';
import { globusUser, gridService, type GlobusUser } from '../grid/globus.ts';
import { countedOn, countingGuestImage } from '../guests/counting.ts';
import { hasPart } from '../parts.ts';
import { createBody, envelopeOf, keyBlock, keysIn, post } from '../support/grid-requests.ts';
import { processesWith } from '../support/processes.ts';
import { askAs, newUser, type Ask } from '../support/query.ts';
import { startServe, type Serve } from '../support/serve.ts';

const WAIT = { timeout: 120_000, interval: 20 };
/** So many letters more of another guest: the time in which one that runs would have said some too. */
const A_WHILE = 6;

const dir = mkdtempSync(join(tmpdir(), 'wsrf-qemu-'));
let serve: Serve;
let alice: GlobusUser;
let keys: Awaited<ReturnType<typeof newUser>>;
let ask: Ask;
let base = '';
let toml = '';
const connect = (): void => {
  base = (JSON.parse(readFileSync(join(serve.root, 'ready.json'), 'utf8')) as { wsrf: string }).wsrf;
  ask = askAs(serve, keys);
};

const here = hasPart('qemu') && hasPart('openssl');
beforeAll(async () => {
  if (!here) return;
  alice = globusUser(dir);
  toml = `
[[local_nodes]]
name = "n1"
driver = "qemu"
memory_mb = 1024
cores = 8
${gridService(dir, alice)}`;
  serve = await startServe(toml);
  keys = await newUser(serve, 'alice');
  connect();
  await serve.admin('user', 'dn', 'alice', '--add', alice.dn);
  const image = join(dir, 'counting.raw');
  writeFileSync(image, countingGuestImage());
  await serve.admin('image', 'add', 'counting', image);
}, 360_000);
afterAll(async () => {
  await serve?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const send = (service: string, body: string, header = ''): ReturnType<typeof post> => post(base, service, envelopeOf(body, header), { cert: readFileSync(alice.certificate), key: readFileSync(alice.key) });
const instances = async (): Promise<Map<string, string>> => {
  const { body } = await ask({ Action: 'DescribeInstances' });
  return new Map([...body.matchAll(/<instanceId>([^<]+)<\/instanceId>.*?<instanceState><code>\d+<\/code><name>([^<]+)</gs)].map(([, id = '', state = '']) => [id, state]));
};
const until = (id: string, state: string): Promise<void> => vi.waitFor(async () => expect((await instances()).get(id)).toBe(state), WAIT);
const said = async (id: string): Promise<string> => Buffer.from(/<output>([^<]*)</.exec((await ask({ Action: 'GetConsoleOutput', InstanceId: id })).body)?.[1] ?? '', 'base64').toString();
const saysMore = async (id: string, letters = 1): Promise<string> => {
  const { length } = await said(id);
  return vi.waitFor(async () => {
    const text = await said(id);
    expect(text.length).toBeGreaterThanOrEqual(length + letters);
    return text;
  }, WAIT);
};

interface Made { readonly key: string; readonly id: string }
async function create(): Promise<Made> {
  const before = await instances();
  const [key = ''] = keysIn((await send('WorkspaceFactoryService', createBody({ image: 'counting', memoryMb: 64 }))).text);
  const id = [...(await instances()).keys()].find((one) => !before.has(one)) ?? '';
  await until(id, 'running');
  await saysMore(id);
  return { key, id };
}
async function change({ key }: Made, body: string): Promise<void> {
  const { status, text } = await send('WorkspaceService', body, keyBlock(key));
  expect(status, text).toBe(200);
}
const shutdown = (one: Made, kind: string): Promise<void> => change(one, `<shutdownWorkspace xmlns="${WORKSPACE}"><shutdownType xmlns="${TYPES}">${kind}</shutdownType></shutdownWorkspace>`);
const start = (one: Made): Promise<void> => change(one, `<startWorkspace xmlns="${WORKSPACE}"/>`);
const visible = async ({ key }: Made): Promise<string> => {
  const { text } = await send('WorkspaceService', `<GetResourceProperty xmlns="http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd" xmlns:t="${TYPES}">t:currentState</GetResourceProperty>`, keyBlock(key));
  return /state>(\w+)</.exec(text)?.[1] ?? text;
};
const processes = (id: string): number => processesWith(id).filter((p) => p.argv.includes('qemu')).length;

describe.skipIf(!here)('a real VM', { timeout: 600_000 }, () => {
  it('that a grid client pauses stands still, and goes on when it is started', async () => {
    const [one, other] = [await create(), await create()];
    await shutdown(one, 'Pause');
    await until(one.id, 'stopped');
    expect(await visible(one)).toBe('Paused');
    const still = await said(one.id);
    await saysMore(other.id, A_WHILE);
    expect(await said(one.id)).toBe(still);
    expect(processes(one.id)).toBe(1);
    await start(one);
    await until(one.id, 'running');
    const after = await saysMore(one.id, 3);
    expect(after.startsWith(still) && countedOn(after), after).toBe(true);
    for (const { id } of [one, other]) await serve.admin('lease', 'destroy', id);
    for (const { id } of [one, other]) await until(id, 'terminated');
  });

  it('that a grid client serializes has no process, and goes on where it was, after a restart of everything', async () => {
    const one = await create();
    await shutdown(one, 'Serialize');
    await until(one.id, 'stopped');
    expect(await visible(one)).toBe('Propagated');
    expect(processes(one.id)).toBe(0);
    const still = await said(one.id);
    // Its room is kept for it.
    expect(await serve.admin<unknown[]>('node', 'list')).toMatchObject([{ name: 'n1', memoryUsed: 64 }]);
    await serve.kill();
    serve = await startServe(toml, serve.root);
    connect();
    expect((await instances()).get(one.id)).toBe('stopped');
    await vi.waitFor(() => start(one), WAIT);
    await until(one.id, 'running');
    const after = await saysMore(one.id, 3);
    expect(after.startsWith(still) && countedOn(after), after).toBe(true);
    await shutdown(one, 'Serialize');
    await until(one.id, 'stopped');
    await change(one, '<Destroy xmlns="http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceLifetime-1.2-draft-01.xsd"/>');
    await until(one.id, 'terminated');
  });
});
