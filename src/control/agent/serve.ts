/** `workspace-control serve`: hold the state directory, or pass the stream on to the agent that does. */
import { VERSION } from '../../platform/version.ts';
import { sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { AgentConfig } from './config.ts';
import type { Peer } from './connection.ts';
import type { DriverChoice } from './drivers/index.ts';
import { hangs, hangsExit } from './holder.ts';
import { tryOpenAgent } from './open.ts';
import { GREETING_MS, readGreeting, relay, takeOver } from './relay.ts';
import { connectTo } from './socket.ts';
import { isNewer } from './versions.ts';

/** An older agent finishes what runs before it goes; one that was just killed may hold its socket a moment longer. */
const TAKE_OVER_MS = 120_000;
const RETRY_MS = 20;

export interface ServeOptions {
  readonly stateDir: string;
  readonly driver: DriverChoice;
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly peer: Peer;
  /** Told once why nothing happens, when that takes long. */
  readonly onWait?: (why: string) => void;
  /** Called with how to end it, when this process holds the directory. */
  readonly onMaster?: (stop: (why: string) => Promise<void>) => void;
}

export async function serve(options: ServeOptions): Promise<void> {
  const { stateDir, clock, peer, onMaster, onWait } = options;
  const deadline = clock.monotonic() + TAKE_OVER_MS;
  let said = false;
  for (;;) {
    const agent = await tryOpenAgent(options);
    if (agent !== undefined) {
      onMaster?.((why) => agent.stop(why));
      agent.serve(peer);
      return agent.over;
    }
    const socket = await connectTo(stateDir);
    const left = deadline - clock.monotonic();
    if (left <= 0) throw hangsExit(stateDir, 'does not answer');
    if (socket === undefined && !said && TAKE_OVER_MS - left > GREETING_MS) {
      said = true;
      onWait?.(hangs(stateDir, 'takes no connection, and is waited for'));
    }
    if (socket !== undefined) {
      const greeting = await readGreeting(clock, socket, stateDir);
      if (greeting.version === undefined) socket.destroy();
      else if (isNewer(VERSION, greeting.version)) await takeOver(clock, socket, VERSION, greeting.version, left);
      else return relay(socket, greeting, peer);
    }
    await sleep(clock, RETRY_MS);
  }
}
