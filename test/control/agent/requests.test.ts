/** The door: whatever comes in, a typed message or `BadRequest` comes out, and a connection never breaks the agent. */
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/control/agent/clock.ts';
import { Connection } from '../../../src/control/agent/connection.ts';
import { AgentFault } from '../../../src/control/agent/fault.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { readRequest, readServiceLine } from '../../../src/control/agent/requests.ts';
import { Uploads } from '../../../src/control/agent/uploads.ts';
import { MAX_GROUP } from '../../../src/control/protocol.ts';
import type { AgentLine } from '../../../src/control/protocol.ts';
import { makeImage, makeRig, scratch, start } from './rig.ts';
import type { Rig } from './rig.ts';

let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => tmp.remove());

const refusal = (line: string): string => {
  try {
    const message = readServiceLine(line);
    return message.kind === 'do' ? message.unreadable.map((u) => u.fault.message).join('; ') : 'taken';
  } catch (e) {
    if (e instanceof AgentFault && e.code === 'BadRequest') return e.message;
    throw e;
  }
};

describe('lines', () => {
  it('any text is a message or BadRequest', () => {
    const json = fc.json({ maxDepth: 6 });
    const shaped = fc.record({
      do: fc.oneof(fc.jsonValue(), fc.array(fc.record({ op: fc.constantFrom('start', 'list', 'console', '__proto__'), id: fc.oneof(fc.string(), fc.integer()), lease: fc.string(), vm: fc.jsonValue() }, { requiredKeys: [] }))),
      put: fc.jsonValue(), hello: fc.jsonValue(), ping: fc.jsonValue(), retire: fc.jsonValue(),
    }, { requiredKeys: [] }).map((v) => JSON.stringify(v));
    fc.assert(fc.property(fc.oneof(fc.string(), json, shaped), (line) => { refusal(line); }), { numRuns: 2000 });
  });

  it('a group beyond the limit is refused as a whole', () => {
    expect(refusal(JSON.stringify({ do: Array.from({ length: MAX_GROUP + 1 }, () => ({ op: 'list' })) }))).toContain(String(MAX_GROUP));
  });

  it.each([
    ['lease', '../../etc/passwd'], ['lease', 'a/b'], ['lease', 'a\0b'], ['lease', '..'], ['lease', ''], ['lease', 'x'.repeat(65)], ['lease', '-rf'],
    ['generation', -1], ['generation', 1.5], ['generation', '1'], ['generation', null],
    ['deadlineMs', 0], ['deadlineMs', Infinity], ['id', ''], ['id', 'a b'], ['id', 'x'.repeat(129)], ['op', 'format'], ['op', 'constructor'],
  ])('refuses a %s of %j', (field, value) => {
    const request = { op: 'remove', id: 'op-1', lease: 'i-1', generation: 1, deadlineMs: 1000, [field]: value };
    expect(refusal(JSON.stringify({ do: request }))).toContain(field);
  });

  it.each([
    [{ memoryMb: 0 }, 'memoryMb'], [{ cores: -1 }, 'cores'], [{ diskMb: 1e12 }, 'diskMb'],
    [{ image: { id: 'a', sha256: 'A'.repeat(64), format: 'raw', sizeBytes: 1 } }, 'sha256'],
    [{ image: { id: 'a', sha256: 'a'.repeat(64), format: 'vmdk', sizeBytes: 1 } }, 'format'],
    [{ image: { id: 'a', sha256: 'a'.repeat(64), format: 'raw', sizeBytes: 1, path: 'relative' } }, 'path'],
    [{ seed: { instanceId: 'i', hostname: 'a\nb', publicKeys: [] } }, 'hostname'],
    [{ seed: { instanceId: 'i', hostname: 'a', publicKeys: ['k\u2028ey'] } }, 'publicKeys'],
    [{ seed: { instanceId: 'i', hostname: 'a', publicKeys: [], userData: '%%%' } }, 'userData'],
    [{ nics: [{ network: 'n', kind: 'bridge', bridge: 'br0,script=/x', mac: '02:00:00:00:00:01', ip: '10.0.0.1', prefix: 24, gateway: null, dns: [], hostname: 'h' }] }, 'bridge'],
    [{ nics: [{ network: 'n', kind: 'user', bridge: null, mac: 'zz', ip: '10.0.0.1', prefix: 24, gateway: null, dns: [], hostname: 'h' }] }, 'mac'],
    [{ nics: [{ network: 'n', kind: 'user', bridge: null, mac: '02:00:00:00:00:01', ip: '10.0.0.1,x', prefix: 24, gateway: null, dns: [], hostname: 'h' }] }, 'ip'],
  ])('refuses a VM with %j', (change, field) => {
    const request = start('i-1', 1, makeImage(tmp.dir));
    expect(() => readRequest({ ...request, vm: { ...('vm' in request ? request.vm : {}), ...change } }, 'do')).toThrow(field);
  });

  it('takes the grace of a removal and the words of a release within their bounds', () => {
    const remove = { op: 'remove', id: 'a', lease: 'i-1', generation: 1, deadlineMs: 60_000, graceMs: 8_000 };
    expect(readRequest(remove, 'do')).toEqual(remove);
    for (const graceMs of [-1, 1.5, '8', 86_400_001]) expect(() => readRequest({ ...remove, graceMs }, 'do')).toThrow('graceMs');
    expect(readRequest({ ...remove, notice: 'Others need the room.' }, 'do')).toEqual({ ...remove, notice: 'Others need the room.' });
    for (const notice of [7, 'two\nlines', 'x'.repeat(501)]) expect(() => readRequest({ ...remove, notice }, 'do')).toThrow('notice');
    const release = { op: 'release', id: 'a', deadlineMs: 1_000, why: 'the last lease has ended' };
    expect(readRequest(release, 'do')).toEqual(release);
    for (const why of [undefined, 7, 'two\nlines', 'x'.repeat(1025)]) expect(() => readRequest({ ...release, why }, 'do')).toThrow('why');
  });

  it('keeps what it knows and drops the rest', () => {
    const request = start('i-1', 1, makeImage(tmp.dir));
    expect(readRequest({ ...request, later: { field: 1 }, __proto__: { polluted: 1 } }, 'do')).toEqual(request);
  });
});

describe('connections', () => {
  async function connect(): Promise<{ rig: Rig; input: PassThrough; output: PassThrough; closed: Promise<void>; lines: () => AgentLine[] }> {
    const rig = await makeRig(tmp.dir);
    const input = new PassThrough();
    const output = new PassThrough();
    const chunks: Buffer[] = [];
    output.on('data', (c: Buffer) => chunks.push(c));
    const closed = new Promise<void>((resolve) => {
      new Connection({ input, output, name: 'test' }, {
        clock: realClock, log: silentLog, executor: rig.executor, uploads: new Uploads(rig.cache, realClock),
        hello: () => ({ program: 'workspace-control', version: '1.0.0', protocols: [1, 2], node: 'n', bootId: 'b', pid: 1, driver: 'simulated', at: 0 }),
        onRetire: () => undefined, onClose: () => resolve(),
      });
    });
    const ended = new Promise<void>((resolve) => output.once('close', () => resolve()));
    return {
      rig, input, output, closed: closed.then(() => ended),
      lines: () => Buffer.concat(chunks).toString().split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as AgentLine),
    };
  }

  it('whatever bytes a peer sends, every line out is JSON and the end is orderly', async () => {
    const hello = JSON.stringify({ hello: { program: 'nimbus', version: '1', protocol: 2 } });
    const line = fc.oneof(
      fc.constant(hello), fc.string(), fc.json(), fc.constant('{"ping":1}'),
      fc.constant('{"do":[{"op":"list","id":"a","deadlineMs":1000}]}'),
      fc.constant(`{"put":{"sha256":"${'a'.repeat(64)}","seq":0,"data":"AAAA","total":3,"last":true}}`),
      fc.constant('{"retire":"0.0.1"}'),
    );
    await fc.assert(fc.asyncProperty(fc.boolean(), fc.array(line, { maxLength: 8 }), fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 50 }), async (greet, lines, noise, cut) => {
      const peer = await connect();
      const bytes = Buffer.concat([Buffer.from([...(greet ? [hello] : []), ...lines, ''].join('\n')), Buffer.from(noise)]);
      for (let i = 0; i < bytes.length; i += cut) peer.input.write(bytes.subarray(i, i + cut));
      peer.input.end();
      await peer.closed;
      expect('hello' in (peer.lines()[0] ?? {})).toBe(true);
    }), { numRuns: 150 });
  });

  it('say why they refuse a protocol, a line before the hello, a second hello', async () => {
    for (const lines of [
      ['{"hello":{"program":"nimbus","version":"1","protocol":3}}'],
      ['{"ping":1}'],
      ['{"hello":{"program":"nimbus","version":"1","protocol":2}}', '{"hello":{"program":"nimbus","version":"1","protocol":2}}'],
    ]) {
      const peer = await connect();
      peer.input.end(`${lines.join('\n')}\n`);
      await peer.closed;
      expect(peer.lines().at(-1)).toEqual({ bye: expect.stringMatching(/^BadRequest: /) });
    }
  });
});
