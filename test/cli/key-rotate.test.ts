/** `nimbus key rotate` decides nothing about keys: in which order it asks, and what it says. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KeyRotation } from '../../src/cli/key-rotation.ts';
import { buildCli } from '../../src/cli/program.ts';
import { aNode, openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => {
  site = await openFakeSite();
  site.on('nodes.list', () => [aNode({ name: 'n1', address: 'ops@n1:22' }), aNode({ name: 'n2', address: 'ops@[fd00::1]:2222' }), aNode({ name: 'local-1', transport: 'local', hostKey: null, address: '/x' })]);
});
afterEach(() => site.close());

const notHere = (): Promise<never> => Promise.reject(new Error('not here'));

async function rotate(argv: readonly string[], fails: (did: string) => boolean = () => false, switched = false) {
  const ran = { code: -1, out: '', err: '', did: [] as string[] };
  const act = (what: string): Promise<void> => {
    ran.did.push(what);
    return fails(what) ? Promise.reject(new Error('it is away')) : Promise.resolve();
  };
  const rotation: KeyRotation = {
    switched: () => switched, now: 'ssh-ed25519 NOW', next: () => 'ssh-ed25519 NEXT',
    add: ({ host, port }) => act(`add ${host} ${port}`), remove: ({ host }) => act(`remove ${host}`), switch: () => void ran.did.push('switch'), finish: () => void ran.did.push('finish'),
  };
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: () => Promise.resolve(null) },
    env: { NIMBUS_DATA: site.dataDir }, serve: notHere, installer: { install: notHere }, keyRotation: () => Promise.resolve(rotation),
    withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere },
  });
  ran.code = await cli.run(['node', 'nimbus', 'key', 'rotate', ...argv]);
  return ran;
}

test('new on all, switch, old from all', async () => {
  expect(await rotate([])).toEqual({
    code: 0, err: '', did: ['add n1 22', 'add fd00::1 2222', 'switch', 'remove n1', 'remove fd00::1', 'finish'],
    out: 'n1: starts its agent for the new key\nn2: starts its agent for the new key\nthe service uses the new key from now on\n'
      + 'n1: the old key is gone\nn2: the old key is gone\nthe old key is gone; the operating key is now ssh-ed25519 NOW\n',
  });
});

test('a node that fails does not keep the others from being tried, but keeps the key', async () => {
  expect(await rotate([], (did) => did === 'add n1 22')).toMatchObject({
    code: 1, err: 'n1: it is away\n', did: ['add n1 22', 'add fd00::1 2222'], out: expect.stringContaining('nothing was switched') as string,
  });
  expect(await rotate([], (did) => did === 'remove n1')).toMatchObject({ code: 1, did: ['add n1 22', 'add fd00::1 2222', 'switch', 'remove n1', 'remove fd00::1'] });
});

test('after the switch it goes on with the rest', async () => {
  expect(await rotate(['--without', 'n1'], undefined, true)).toMatchObject({ code: 0, did: ['remove fd00::1', 'finish'] });
});

test('in pilot mode people have written lines too: nothing begins before they say that the new key is there', async () => {
  await site.close();
  site = await openFakeSite(undefined, { batchSystem: { name: 'slurm', nodes: 1, graceS: 30, lastListed: null, listMs: null, lastFailure: null } });
  site.on('nodes.list', () => [aNode({ name: 'n1', address: 'ops@n1:22' })]);
  expect(await rotate([])).toMatchObject({ code: 1, did: [], err: expect.stringContaining('put the new key beside the old one there: ssh-ed25519 NEXT\n  then run the command again with --by-hand') as string });
  expect(await rotate(['--by-hand'])).toMatchObject({ code: 0, did: ['add n1 22', 'switch', 'remove n1', 'finish'] });
});

test('an unknown node is a mistake of the command line', async () => {
  expect(await rotate(['--without', 'local-1'])).toMatchObject({ code: 2, did: [], err: 'nimbus: no node over SSH is named local-1\n' });
});
