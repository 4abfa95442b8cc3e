/** How long a slot's job and its pilots last. Each outlives what runs inside it, so that the batch system's kill is only the safety net. */
import type { PilotConfig, SpotConfig } from '../../platform/config-pilot.ts';

/** Where neither the site nor the batch system says. */
const GRACE_S = 30;

export interface SlotTimes {
  /** What users asked for. */
  readonly duration_s: number;
  /** `--duration` of the pilot, from its own start. */
  readonly pilot_s: number;
  readonly walltime_s: number;
  readonly grace_s: number;
}

/** @param lrmGraceS what the batch system says of itself; null = it does not @param spot of jobs that others displace */
export function slotTimes(pilot: PilotConfig, durationS: number, lrmGraceS: number | null, spot?: SpotConfig): SlotTimes {
  const usual = pilot.grace > 0 ? pilot.grace : lrmGraceS ?? GRACE_S;
  const grace = spot !== undefined && spot.grace > 0 ? spot.grace : usual;
  const pilotS = durationS + pilot.padding;
  return { duration_s: durationS, pilot_s: pilotS, walltime_s: pilotS + pilot.padding + grace, grace_s: grace };
}
