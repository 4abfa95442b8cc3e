/** How many of the moments of a life have their kill: all of them take too long for each run of the tests where each kill takes seconds. */
const EVERY_MOMENT = process.env['NIMBUS_EVERY_MOMENT'] === '1';
const MOST_MS = 2 * 3_600_000;

/** One moment in so many, or each (`npm run test:every-moment`). */
export const oneIn = (n: number): number => (EVERY_MOMENT ? 1 : n);

/** The deadline of such a test, ms. */
export const deadline = (ms: number): number => (EVERY_MOMENT ? MOST_MS : ms);
