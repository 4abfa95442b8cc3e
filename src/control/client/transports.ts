/** The real ways to nodes. */
import type { Context } from '../../platform/context.ts';
import type { NodeRef } from '../types.ts';
import { localTransport } from './local.ts';
import type { PilotChannels } from './pilot-channels.ts';
import { sshTransport, type SshOptions } from './ssh.ts';
import type { Transport } from './transport.ts';

export interface TransportOptions extends SshOptions {
  /** The bundled agent, for nodes beside the service. */
  readonly agentProgram: string;
  /** This machine's name: local nodes of another are not here. */
  readonly machine?: string;
  /** Channels that pilots open; absent where nothing listens for them. */
  readonly pilotChannels?: PilotChannels;
}

export function createTransports(ctx: Context, options: TransportOptions): (node: NodeRef) => Transport {
  return ({ name, access }) => {
    const own = { ...ctx, log: ctx.log.child({ nodeName: name }) };
    switch (access.transport) {
      case 'local':
        if (options.machine !== undefined && access.machine !== undefined && access.machine !== options.machine) return notHere(access.machine);
        return localTransport(own, access, options.agentProgram);
      case 'ssh':
      case 'slot-ssh': return sshTransport(own, access, options);
      case 'pilot': return options.pilotChannels?.transport(access) ?? nobodyListens;
    }
  };
}

const notHere = (machine: string): Transport => ({
  describe: `local agent on ${machine}`,
  open: () => Promise.reject(new Error(`it is a local node of the service on ${machine}, which alone can reach it`)),
});

const nobodyListens: Transport = {
  describe: 'a pilot\'s channel',
  open: () => Promise.reject(new Error('the service takes no channels of pilots: it is not in pilot mode (scheduler.mode)')),
};
