/** A control client over given ways to nodes, with what a test wants to see of it. */
import { createHash } from 'node:crypto';
import { createControlClient, type ControlOptions } from '../../../src/control/client/client.ts';
import type { Transport } from '../../../src/control/client/transport.ts';
import type { AgentRequest, ImageRef } from '../../../src/control/protocol.ts';
import type { ChannelState, ControlClient, NodeAnswer, NodeCall, NodeRef } from '../../../src/control/types.ts';
import type { Context, Log } from '../../../src/platform/context.ts';
import { realClock, realRandom } from '../../../src/platform/real.ts';

export const quietLog: Log = {
  debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, debugging: false, child: () => quietLog,
};
export const ctx: Context = { clock: realClock, random: realRandom, log: quietLog };

export const nodeRef = (id: number, access?: NodeRef['access']): NodeRef => ({
  id, name: `node${id}`, access: access ?? { transport: 'local', stateDir: `/nowhere/${id}`, driver: 'simulated' },
});

export interface Watched {
  readonly client: ControlClient;
  readonly states: ChannelState[];
  /** Resolves when the node's state fits, now or later. */
  when(nodeId: number, fits: (s: ChannelState) => boolean): Promise<ChannelState>;
}

export function watched(context: Context, options: Partial<ControlOptions> & Pick<ControlOptions, 'transport'>): Watched {
  const client = createControlClient(context, {
    imageSource: () => { throw new Error('no images here'); },
    silenceMs: 5_000, reconnectMaxMs: 300, ...options,
  });
  const states: ChannelState[] = [];
  const waiting = new Set<(s: ChannelState) => void>();
  client.onState((s) => {
    states.push(s);
    for (const w of [...waiting]) w(s);
  });
  return {
    client, states,
    when(nodeId, fits) {
      const now = client.state(nodeId);
      if (fits(now)) return Promise.resolve(now);
      return new Promise((resolve) => {
        const look = (s: ChannelState): void => {
          if (s.nodeId !== nodeId || !fits(s)) return;
          waiting.delete(look);
          resolve(s);
        };
        waiting.add(look);
      });
    },
  };
}

/** One client over several fake or real nodes, numbered from 1. */
export function overTransports(transports: readonly Transport[], options: Partial<ControlOptions> = {}, context: Context = ctx): Watched {
  const w = watched(context, {
    transport: (n) => {
      const t = transports[n.id - 1];
      if (t === undefined) throw new Error(`no transport ${n.id}`);
      return t;
    },
    ...options,
  });
  w.client.setNodes(transports.map((_, i) => nodeRef(i + 1)));
  return w;
}

export const isUp = (s: ChannelState): boolean => s.up;
export const isDown = (s: ChannelState): boolean => !s.up && s.reason !== 'not reached yet';

export async function collect(client: ControlClient, calls: readonly NodeCall[]): Promise<NodeAnswer[]> {
  const answers: NodeAnswer[] = [];
  await client.call(calls, { onAnswer: (a) => answers.push(a) });
  return answers;
}

let nextId = 0;
export const listRequest = (deadlineMs = 10_000): AgentRequest => ({ op: 'list', id: `op-${++nextId}`, deadlineMs });

export function imageOf(bytes: Buffer): ImageRef {
  return { id: 'ami-00000000000000001', sha256: createHash('sha256').update(bytes).digest('hex'), format: 'raw', sizeBytes: bytes.length };
}

export const startRequest = (image: ImageRef, deadlineMs = 10_000): AgentRequest => ({
  op: 'start', id: `op-${++nextId}`, deadlineMs, lease: `i-${String(nextId).padStart(17, '0')}`, generation: 1,
  vm: { memoryMb: 64, cores: 1, diskMb: 0, image, nics: [], seed: { instanceId: 'i', hostname: 'h', publicKeys: [] } },
});
