import { describe, expect, it } from 'vitest';
import { CLIENTS, REFUSED, STEPS, type Found, type MatrixClient } from './clients.ts';
import { differences, section, withSection, type Row } from './page.ts';

const PAGE = 'before\n<!-- begin: written by npm run docs:clients -->\n<!-- end -->\nafter\n';
const found = (change: Partial<Found> = {}): Found => ({
  version: '1.0', steps: STEPS.map((step) => ({ step })), refusals: REFUSED.map((refusal) => ({ refusal, code: 'No', status: 400 })), reached: true, ...change,
});
const [first, second, third] = CLIENTS as [MatrixClient, MatrixClient, MatrixClient];
const lacking = found({ steps: STEPS.map((step) => (step === 'tags' || step === 'filter' ? { step, missing: 'no tags then' } : { step, how: 'poll' })) });
const rows: Row[] = [{ client: third, found: lacking }, { client: first, found: found() }];
const written = withSection(PAGE, section(rows, PAGE, CLIENTS));

describe('the table of clients', () => {
  it('is written between its marks, in the order of the clients, and is what was found', () => {
    expect(written).toMatch(/^before\n<!-- begin[^]*<!-- end -->\nafter\n$/);
    expect(written.indexOf(`| ${first.name} |`)).toBeLessThan(written.indexOf(`| ${third.name} |`));
    expect(written).toContain(`* ${third.name}, ${third.signature}: tags, filter: no tags then.`);
    expect(differences(written, rows, true)).toEqual([]);
  });

  it('keeps the rows of clients that are not here', () => {
    const again = withSection(written, section([{ client: second, found: found() }], written, CLIENTS));
    expect(differences(again, [...rows, { client: second, found: found() }], true)).toEqual([]);
  });

  it.each([
    ['a step that went otherwise', found({ steps: STEPS.map((step) => ({ step, how: 'waiter' })) })],
    ['another refusal', found({ refusals: REFUSED.map((refusal) => ({ refusal, code: 'Other', status: 400 })) })],
    ['a step that is missing', lacking],
  ])('tells of %s', (_what, other) => {
    expect(differences(written, [{ client: first, found: other }], false)).not.toEqual([]);
  });

  it('tells of a client that has no row, and of other versions where they count', () => {
    expect(differences(PAGE, rows, true)).not.toEqual([]);
    const newer = [{ client: first, found: found({ version: '2.0' }) }];
    expect(differences(written, newer, true)).not.toEqual([]);
    expect(differences(written, newer, false)).toEqual([]);
  });

  it('leaves open what was not tried', () => {
    expect(differences(written, [{ client: first, found: { version: '1.0', steps: found().steps, refusals: found().refusals } }], true)).toEqual([]);
  });
});
