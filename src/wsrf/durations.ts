/** xsd:duration as a running time. */
import type { Duration } from '../soap/schema/codec.ts';
import { metadataFault } from './faults.ts';

/** Years and months have no length that all agree upon. @throws BaseFault */
export function durationSeconds(d: Duration): number {
  if (d.negative === true) throw metadataFault('the running time is negative');
  if ((d.years ?? 0) !== 0 || (d.months ?? 0) !== 0) throw metadataFault('a running time is given in days, hours, minutes and seconds, not in years or months');
  const seconds = Math.floor((d.days ?? 0) * 86_400 + (d.hours ?? 0) * 3600 + (d.minutes ?? 0) * 60 + (d.seconds ?? 0));
  if (!Number.isSafeInteger(seconds) || seconds < 1) throw metadataFault('the running time is no time');
  return seconds;
}
