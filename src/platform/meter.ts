/** What the rooms count while they work; who exposes it gives the Context its meter. Names come from closed lists only. */
import type { FaultCode } from '../lease/faults.ts';
import type { IntentKind } from '../lease/states.ts';
import type { RefusalCode } from '../pilot/protocol.ts';

export interface Meter {
  /** A request was refused at a door. */
  refused(door: 'ec2' | 'wsrf' | 'admin' | 'pilot', code: FaultCode | RefusalCode): void;
  /** A step of a lease's start or end, as `src/lease/phases.ts` names it. */
  step(name: string, ms: number): void;
  /** An operation on a node was answered; ms since it was written down. */
  operation(kind: IntentKind, ok: boolean, ms: number): void;
  /** A node's agent answered a ping. */
  roundTrip(ms: number): void;
}
