import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { alice, openDoor, sendRaw, type OpenDoor } from '../door.ts';
import { SOAP_TABLES, namespaceOf } from '../../../src/ec2/soap/versions.ts';
import { SOAP_CAPTURES } from './captures.ts';
import { soapReply } from './sign.ts';

let door: OpenDoor;
beforeAll(async () => {
  door = await openDoor({ config: { refuse_replays: false } });
  for (const { fingerprint } of SOAP_CAPTURES) door.manager.certificates.set(fingerprint, alice);
});
afterAll(() => door.close());

/** Refusals of the signature; any other answer means that it was accepted. */
const UNPROVEN = /AuthFailure|RequestExpired|MissingAuthenticationToken|InvalidSOAPRequest/;

describe('SOAP requests of real clients, byte for byte', () => {
  it.each(SOAP_CAPTURES.map((c) => [c.name, c] as const))('%s', async (_name, capture) => {
    door.now = capture.at + 1000;
    const answer = soapReply(await sendRaw(door.port, capture.bytes));
    expect(answer.code, answer.text).not.toMatch(UNPROVEN);
    // Their form is read; what they name does not exist here, or is no name.
    expect(`${answer.code} ${answer.text}`).toMatch(/^ $|^aws:Client\.(?:Invalid(?:AMIID|InstanceID|KeyPair|Group)\.\w+|UnsupportedOperation) |^aws:Client.InvalidParameterValue .*(?:KeyName|zone)|^aws:Client.MissingParameter .*InstanceId/);
    expect(answer.code === 'aws:Client.UnsupportedOperation').toBe(!SOAP_TABLES.get(namespaceOf(capture.version))?.actions.has(capture.action));
    if (answer.code !== '') return expect(answer).toMatchObject({ status: 500, requestId: answer.headers.get('x-amzn-requestid') });
    expect(answer.status).toBe(200);
    const id = capture.version === '2008-05-05' ? '' : `<requestId>${answer.headers.get('x-amzn-requestid')}</requestId>`;
    expect(answer.body).toContain(`<SOAP-ENV:Body><${capture.action}Response xmlns="${namespaceOf(capture.version)}">${id}`);
    expect(answer.headers.get('content-type')).toBe('text/xml;charset=UTF-8');
  });

  it.each(SOAP_CAPTURES.filter((c) => /001-|describe-zones/.test(c.name)).map((c) => [c.name, c] as const))('%s is refused when its time is over, or has not come', async (_name, capture) => {
    for (const shift of [-301_000, 901_000]) {
      door.now = capture.at + shift;
      expect(soapReply(await sendRaw(door.port, capture.bytes))).toMatchObject({ status: 500, code: 'aws:Client.RequestExpired' });
    }
  });

  it('of a certificate that no user has are refused', async () => {
    const stranger = await openDoor();
    const capture = SOAP_CAPTURES[0]!;
    stranger.now = capture.at;
    expect(soapReply(await sendRaw(stranger.port, capture.bytes))).toMatchObject({ code: 'aws:Client.AuthFailure', text: expect.stringContaining('nimbus user cert add') });
    await stranger.close();
  });

  it('with a changed byte in what is signed reach nothing', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...SOAP_CAPTURES), fc.nat(), fc.integer({ min: 1, max: 127 }), async (capture, where, xor) => {
      const from = capture.bytes.lastIndexOf('Body>') > 0 ? capture.bytes.indexOf(capture.action, capture.bytes.indexOf(':Body')) : 0;
      const to = capture.bytes.lastIndexOf(capture.action);
      const at = from + where % (to - from);
      const changed = Buffer.from(capture.bytes);
      changed[at] = (changed[at] as number) ^ xor;
      // Blanks between attributes and kinds of quotes are not signed.
      fc.pre(!/[\s"'/>=]/.test(String.fromCharCode(capture.bytes[at] as number)));
      door.now = capture.at;
      const before = door.manager.mutations.length;
      const answer = soapReply(await sendRaw(door.port, changed));
      expect(answer.status).toBe(500);
      expect(answer.code, `${capture.name} at ${at}`).toMatch(UNPROVEN);
      expect(door.manager.mutations.length).toBe(before);
    }), { numRuns: 400 });
  });
});
