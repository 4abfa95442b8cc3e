/** The real ways to nodes. */
import type { Context } from '../../platform/context.ts';
import type { NodeRef } from '../types.ts';
import { localTransport } from './local.ts';
import { sshTransport, type SshOptions } from './ssh.ts';
import type { Transport } from './transport.ts';

export interface TransportOptions extends SshOptions {
  /** The bundled agent, for nodes beside the service. */
  readonly agentProgram: string;
}

export function createTransports(ctx: Context, options: TransportOptions): (node: NodeRef) => Transport {
  return ({ name, access }) => {
    const own = { ...ctx, log: ctx.log.child({ nodeName: name }) };
    return access.transport === 'local' ? localTransport(own, access, options.agentProgram) : sshTransport(own, access, options);
  };
}
