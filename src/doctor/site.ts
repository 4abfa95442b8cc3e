/** What the doctor is given of the batch system: asked once, for all checks. */
import { readFileSync } from 'node:fs';
import type { Lrm, LrmFacts } from '../pilot/lrm/types.ts';
import type { Config } from '../platform/config.ts';
import type { Clock } from '../platform/context.ts';
import { withDeadline } from '../platform/deadline.ts';
import { errorText } from '../platform/errors.ts';
import { hostAndPort, urlHost } from '../platform/http/address.ts';
import type { BatchSite } from './types.ts';

/** @param contacts URLs that pilots are told, of a service that runs; without one, what the configuration says */
export async function batchSite(clock: Clock, config: Config, lrm: Lrm, contacts: readonly string[] = configured(config)): Promise<BatchSite> {
  return { lrm, facts: await factsOf(clock, config, lrm), contacts, ca: authority(config) };
}

async function factsOf(clock: Clock, { pilot }: Config, lrm: Lrm): Promise<LrmFacts | { missing: string }> {
  try {
    // Several commands, each with a deadline of its own.
    return await withDeadline(clock, 3 * pilot.command_deadline * 1000, 'asking the batch system', lrm.facts());
  } catch (e) {
    return { missing: errorText(e) };
  }
}

/** Empty when the listener takes a free port: then only the running service knows it. */
function configured({ pilot }: Config): string[] {
  if (pilot.address !== '') return [pilot.address];
  const { host, port } = hostAndPort(pilot.listen);
  if (port === '0') return [];
  return [`${pilot.tls_certificate !== '' && pilot.tls_key !== '' ? 'https' : 'http'}://${urlHost(host)}:${port}`];
}

/** What cannot be read shows when the address is tried. */
function authority({ pilot }: Config): string | undefined {
  if (pilot.tls_ca === '') return undefined;
  try {
    return readFileSync(pilot.tls_ca, 'utf8');
  } catch {
    return undefined;
  }
}
