/**
 * A site's own decision on requests, as an example: office hours, projects, and a cap on large machines at night.
 * docs/policies.md says what is asked and what may be answered.
 *
 *   [authorization]
 *   module = "/etc/nimbus/decide.mjs"
 */
const LARGE_CORES = 8;

export async function decide(request) {
  if (request.kind === 'extend') return { allow: true };
  const reasons = request.requests.flatMap((r) => [
    ...(r.cores >= LARGE_CORES && !isNight(request.at) ? [`machines of ${LARGE_CORES} cores and more are leased from 20:00 to 6:00 UTC`] : []),
    ...(r.tags.project === undefined ? ['say what it is for, with the tag project'] : []),
  ]);
  return reasons.length === 0 ? { allow: true } : { allow: false, reasons };
}

function isNight(ms) {
  const hour = new Date(ms).getUTCHours();
  return hour >= 20 || hour < 6;
}
