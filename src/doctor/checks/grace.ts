/** Whether pilots get as long between SIGTERM and SIGKILL as they are told. */
import { slotTimes } from '../../manager/slots/times.ts';
import { fail, factsOf, ok, warn } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

/** Guests power down, memory goes back and the service hears of it: less than this is no time for all three. */
const SHORT_S = 10;

export const grace: BatchCheck = {
  name: 'grace',
  look(batch, { config }) {
    const facts = factsOf(batch);
    if (facts === undefined) return [];
    const told = slotTimes(config.pilot, 1, facts.graceS).grace_s;
    const setting = facts.lrm === 'slurm' ? `KillWait=${told} in slurm.conf` : `kill_delay of the queue: qmgr -c "set queue NAME kill_delay=${told}"`;
    if (facts.graceS === null) {
      return [warn('grace', `what the batch system leaves between SIGTERM and SIGKILL cannot be read; pilots are told ${told} s`,
        `see that it is so: ${setting}`, 'or set pilot.grace to what it really is')];
    }
    if (told > facts.graceS) {
      return [fail('grace', `pilots are told ${told} s (pilot.grace), but the batch system kills after ${facts.graceS} s`, `set pilot.grace = ${facts.graceS}, or 0 to have it read`, `or raise it: ${setting}`)];
    }
    if (told < SHORT_S) return [warn('grace', `pilots have only ${told} s to end VMs and restore memory`, `at least ${SHORT_S} s are advised; the default of Slurm is 30`)];
    return [ok('grace', told === facts.graceS ? `${told} s, as the batch system gives` : `pilots are told ${told} s of the ${facts.graceS} s that the batch system gives`)];
  },
};
