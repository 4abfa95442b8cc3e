/** Minutes charged in the period, those that live leases have reserved, and those that are asked for. */
import { countingRule } from './counting.ts';

export const reservedMinutes = countingRule({
  bound: 'reserved_minutes', unit: 'minutes', extensions: true, used: (a) => a.closedMinutes + a.use.reservedMinutes, each: (part) => part.minutes,
});
