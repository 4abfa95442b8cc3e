/** Whether accounting sinks take what they are told of. */
import { allSinks } from '../../store/usage-sinks.ts';
import { ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

const CHECK = 'accounting sinks';

export const sinks: Check = {
  name: CHECK,
  async look({ db, config }) {
    if ('missing' in db || Object.keys(config.usage_sinks).length === 0) return [];
    const active = (await db.query(allSinks)).filter((s) => s.active);
    const failing = active.filter((s) => s.attempts > 0);
    if (failing.length === 0) return active.length === 0 ? [] : [ok(CHECK, `${active.length} ${active.length === 1 ? 'takes' : 'take'} usage events`)];
    return failing.map((s) => warn(CHECK, `${s.name} does not take usage events: ${s.last_error ?? 'it said nothing'}; ${s.backlog} wait, and ${s.attempts} ${s.attempts === 1 ? 'attempt has' : 'attempts have'} failed`,
      `mend what usage_sinks.${s.name} names; the service goes on trying, and beyond ${config.usage_sinks[s.name]?.keep ?? 0} that wait (keep) the oldest are dropped`,
      'how it goes: nimbus usage sinks'));
  },
};
