/** What a pilot on its way works with, and what it holds meanwhile. */
import type { Agent } from '../../control/agent/agent.ts';
import type { Credentials } from '../protocol.ts';
import type { ReserveArgs } from './args.ts';
import type { Budget } from './budget.ts';
import type { ServiceChannel } from './channel.ts';
import type { PilotConfig } from './config.ts';
import type { Contacts } from './contacts.ts';
import type { Ending } from './ending.ts';
import type { Notifier } from './notifier.ts';
import type { PilotName } from './own-service.ts';
import type { Room } from './room.ts';
import type { Stage } from './stages.ts';
import type { Stamps } from './stamps.ts';
import type { ProgramContext } from './types.ts';

export interface ReserveParts extends ProgramContext {
  readonly args: ReserveArgs;
  readonly config: PilotConfig;
  readonly name: PilotName;
  readonly ending: Ending;
  readonly budget: Budget;
  readonly stamps: Stamps;
  /** null = nobody is told. */
  readonly notifier: Notifier | null;
  /** null = no channel. */
  readonly credentials: Credentials | null;
  readonly contacts: Contacts;
  readonly hex: (bytes: number) => string;
  readonly random: () => number;
  /** ms since the program began. */
  readonly elapsedMs: () => number;
}

/** What a pilot holds; what is there is given back. */
export interface Held {
  room?: Room;
  agent?: Agent;
  channel?: ServiceChannel;
}

/** A state file that cannot be written now says an earlier stage, from which everything is given back too. */
export function enter({ log, clock }: ProgramContext, { room }: Held, stage: Stage): void {
  log.info(`stage ${stage}`);
  try {
    room?.stage(stage);
  } catch (e) {
    log.warn('the stage cannot be written down', { stage, why: (e as Error).message, at: clock.now() });
  }
}
