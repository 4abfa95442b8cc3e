/** A slot as a batch job: the pilot's argv for each part, and the credentials that travel on its standard input. */
import type { ToSubmit } from '../manager/slots/types.ts';
import type { JobRequest } from '../pilot/lrm/types.ts';
import type { Credentials } from '../pilot/protocol.ts';
import type { Config } from '../platform/config.ts';

export function pilotJob(config: Config, slot: ToSubmit, at: { contacts: readonly string[]; ca: string | undefined }): JobRequest {
  const credentials: Credentials = {
    slot: slot.slotId, contacts: at.contacts, secret: slot.secret, nonce: slot.nonce, channel: config.control.transport === 'pilot',
    ...(at.ca === undefined ? {} : { ca: at.ca }),
  };
  return {
    ...slot.job,
    parts: slot.job.parts.map((p, part) => ({ nodes: p.nodes, cores: p.cores, memoryMb: p.memoryMb, argv: pilotArgv(config, slot, part, p.memoryMb) })),
    credentials: asciiJson(credentials),
  };
}

/** A shell reads it on its way: what is not ASCII is escaped, as JSON allows. */
const asciiJson = (value: unknown): string => JSON.stringify(value).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

function pilotArgv({ pilot }: Config, slot: ToSubmit, part: number, memoryMb: number): string[] {
  return [
    ...pilot.program, '--reserveslot', '--memory', String(memoryMb), '--duration', String(slot.pilotS), '--graceperiod', String(slot.graceS),
    '--slotid', slot.slotId, '--part', String(part), ...(pilot.config_path === '' ? [] : ['--configpath', pilot.config_path]), '--credentials', '-',
  ];
}
