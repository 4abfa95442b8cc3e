/** Most leases at once; those that wait for a borrowed node count too. */
import { countingRule } from './counting.ts';

export const leases = countingRule({ bound: 'leases', extensions: false, used: (a) => a.use.leases, each: () => 1 });
