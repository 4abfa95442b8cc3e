/** The agent in the pilot's own process: the service runs VMs through it as on any node. */
import { join } from 'node:path';
import type { Agent } from '../../control/agent/agent.ts';
import type { Log } from '../../control/agent/log.ts';
import type { Clock } from '../../control/agent/clock.ts';
import type { PilotConfig } from './config.ts';
import { EXIT } from './stages.ts';
import { SHARED_DIR } from './state.ts';
import { PilotError } from './types.ts';
import type { MemoryMechanism } from './types.ts';

/** Where hugetlbfs is mounted (systemd's dev-hugepages.mount). */
const HUGE_PAGES = '/dev/hugepages';

export interface PilotAgentOptions {
  readonly stateDir: string;
  readonly config: PilotConfig;
  readonly mechanism: MemoryMechanism['name'];
  readonly clock: Clock;
  readonly log: Log;
  /** Where the service is told of guests; null = nowhere. */
  readonly service: URL | null;
  readonly onRelease: (why: string) => void;
}

/** @throws PilotError badConfig or badEnvironment */
export async function openPilotAgent({ stateDir, config, mechanism, clock, log, service, onRelease }: PilotAgentOptions): Promise<Agent> {
  const [{ openAgent }, { readAgentConfig }, { qemuProgram }, { driverFor }] = await Promise.all([
    import('../../control/agent/open.ts'), import('../../control/agent/config.ts'), import('../../control/agent/drivers/qemu/index.ts'), import('./vmm.ts'),
  ]);
  try {
    const own = readAgentConfig(config.agentConfig ?? undefined);
    const driver = driverFor(config.driver, qemuProgram(own.qemu));
    const said = 'bindAddress' in own.qemu || 'reachHost' in own.qemu;
    const reached = said || driver === 'simulated' ? {} : await (await import('./guest-address.ts')).guestAddress(config.guestAddress, service, { clock, log });
    const qemu = { ...reached, ...(mechanism === 'hugepages' ? { memPath: HUGE_PAGES } : {}), ...own.qemu };
    return await openAgent({
      stateDir, driver, config: { ...own, qemu }, clock, log, persistent: true, inJob: true, onRelease,
      sharedDir: join(config.node.stateBase, SHARED_DIR),
    });
  } catch (e) {
    const { name, message } = e as Error;
    if (name === 'AgentFault') throw new PilotError(EXIT.badConfig, message);
    throw name === 'Exit' ? new PilotError(EXIT.badEnvironment, message) : e;
  }
}
