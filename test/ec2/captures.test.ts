import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { openDoor, sendRaw, type OpenDoor } from './door.ts';
import { CAPTURES, paramsOf, type Capture } from './fixtures.ts';

/** Refusals of the signature; any other answer means that it was accepted. */
const UNPROVEN = ['AuthFailure', 'InvalidClientTokenId', 'SignatureDoesNotMatch', 'RequestExpired', 'MissingAuthenticationToken', 'MalformedQueryString'];

let door: OpenDoor;
beforeAll(async () => { door = await openDoor({ config: { refuse_replays: false } }); });
afterAll(() => door.close());

describe('requests of real clients, byte for byte', () => {
  it.each(CAPTURES.map((c) => [c.name, c] as const))('%s', async (_name, capture) => {
    door.now = capture.at + 1000;
    const answer = await sendRaw(door.port, capture.bytes);
    expect(UNPROVEN, answer.message).not.toContain(answer.code);
    // Every parameter is known; what they name does not exist here, and two of the names are none (`ami-1`, `my key~*+`).
    expect(`${answer.code} ${answer.message}`).toMatch(/^ $|^UnsupportedOperation (?:The action|This site)|NotFound|^InvalidKeyPair.Duplicate|^DryRunOperation|^InvalidAMIID.Malformed|^InvalidParameterValue .* KeyName/);
    const known = capture.action === 'GetCallerIdentity' || OPERATIONS.has(capture.action);
    expect(answer.message.startsWith('The action')).toBe(!known);
    if (answer.status !== 200) return;
    const version = paramsOf(capture.bytes, capture.bodyAt).get('Version');
    const id = answer.headers.get('x-amzn-requestid');
    const opened = capture.action === 'GetCallerIdentity' ? 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>' : `xmlns="http://ec2.amazonaws.com/doc/${version}/"><requestId>${id}</requestId>`;
    expect(answer.body).toContain(`<${capture.action}Response ${opened}`);
    expect(answer.headers.get('content-type')).toBe('text/xml;charset=UTF-8');
  });

  it.each(CAPTURES.filter((c) => c.name.includes('001-')).map((c) => [c.name, c] as const))('%s is refused six minutes late or early', async (_name, capture) => {
    for (const shift of [-360_000, 360_000]) {
      door.now = capture.at + shift;
      expect(await sendRaw(door.port, capture.bytes)).toMatchObject({ status: 400, code: 'RequestExpired' });
    }
  });
});

describe('a changed byte', () => {
  it('in a signed part is refused and reaches nothing', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...CAPTURES), fc.nat(), fc.integer({ min: 1, max: 127 }), async (capture, where, xor) => {
      const places = signedPlaces(capture);
      const at = places[where % places.length] as number;
      const changed = Buffer.from(capture.bytes);
      changed[at] = (changed[at] as number) ^ xor;
      fc.pre(!means(changed, capture));
      door.now = capture.at;
      const before = door.manager.mutations.length;
      const answer = await sendRaw(door.port, changed);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect([...UNPROVEN, 'RequestEntityTooLarge'], `${capture.name} at ${at}: ${changed.toString('latin1')}`).toContain(answer.code);
      expect(door.manager.mutations.length).toBe(before);
    }), { numRuns: 1500 });
  });
});

/** Query and body; date, and signature of the Authorization header. */
function signedPlaces(capture: Capture): number[] {
  const head = capture.bytes.subarray(0, capture.bodyAt).toString('latin1');
  const places: number[] = [];
  const add = (pattern: RegExp): void => {
    const m = pattern.exec(head);
    if (m?.[1] !== undefined) for (let i = 0; i < m[1].length; i++) places.push(m.index + m[0].length - m[1].length + i);
  };
  add(/^GET \/\?(\S+)/);
  add(/\r\nx-amz-date: *(\S+)/i);
  add(/Signature=([0-9a-f]{64})/);
  for (let i = capture.bodyAt; i < capture.bytes.length; i++) places.push(i);
  return places;
}

/** `%3a` and `%3A` are the same octet; version 2 signs what they mean, not how they are written. */
function means(changed: Buffer, capture: Capture): boolean {
  if (!capture.name.includes('sigv2')) return false;
  try {
    const a = [...paramsOf(changed, capture.bodyAt)].sort();
    return JSON.stringify(a) === JSON.stringify([...paramsOf(capture.bytes, capture.bodyAt)].sort());
  } catch {
    return false;
  }
}
