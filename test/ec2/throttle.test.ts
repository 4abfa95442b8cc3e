import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createThrottle } from '../../src/ec2/throttle.ts';
import { realClock } from '../../src/platform/real.ts';
import { ask, BOB, openDoor, type OpenDoor } from './door.ts';

describe('requests of one account', () => {
  it('pass as often as the rate and the burst say, whatever the times between them', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 200 }), (rate, burst, gaps) => {
      let now = 0;
      let passed = 0;
      const throttle = createThrottle({ ...realClock, monotonic: () => now }, { rate, burst });
      for (const gap of gaps) {
        now += gap;
        try {
          throttle.take(1);
          passed++;
        } catch (e) {
          expect(e).toMatchObject({ code: 'Throttled', ec2: 'RequestLimitExceeded', http: 503 });
        }
        expect(passed).toBeLessThanOrEqual(burst + now * rate / 1000 + 1e-6);
      }
      // Whoever rests long enough may send a burst again.
      now += burst / rate * 1000 + 1;
      for (let i = 0; i < burst; i++) throttle.take(1);
    }));
  });

  it('do not hold up others, of whom it remembers a bounded number', () => {
    let now = 0;
    const throttle = createThrottle({ ...realClock, monotonic: () => now }, { rate: 1, burst: 1, most: 3 });
    for (let account = 0; account < 1000; account++) throttle.take(account);
    expect(() => throttle.take(999)).toThrow(/Request limit/);
    now = 1000;
    throttle.take(999);
  });
});

describe('at the door', () => {
  let door: OpenDoor;
  // No time passes: nothing may be asked again.
  beforeAll(async () => { door = await openDoor({ config: { requests_per_second: 1, request_burst: 3 }, monotonic: () => 0 }); });
  afterAll(() => door.close());

  it('what is too much is refused before it is read, for that account only, once the signature is proven', async () => {
    const codes: string[] = [];
    for (let i = 0; i < 6; i++) codes.push((await ask(door, { Action: 'DescribeRegions' })).code);
    expect(codes).toEqual(['', '', '', ...Array.from({ length: 3 }, () => 'RequestLimitExceeded')]);
    expect((await ask(door, { Action: 'DescribeRegions' }, BOB)).status).toBe(200);
    // Strangers take nobody's tokens.
    for (let i = 0; i < 5; i++) expect((await ask(door, { Action: 'DescribeRegions' }, { ...BOB, secret: 'x' })).code).toBe('SignatureDoesNotMatch');
    expect((await ask(door, { Action: 'DescribeRegions' }, BOB)).status).toBe(200);
  });
});
