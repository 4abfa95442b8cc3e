/** Why something that a pilot asks is refused; what a pilot makes of each code stands in `src/pilot/protocol.ts`. */
import type { RefusalCode } from '../../pilot/protocol.ts';

export class PilotRefusal extends Error {
  override readonly name = 'PilotRefusal';
  constructor(readonly code: RefusalCode, message: string) {
    super(message);
  }
}
