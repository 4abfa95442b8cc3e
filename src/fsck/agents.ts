/** Agents, asked on the channels that a control client keeps. */
import type { ControlClient } from '../control/types.ts';
import { isFault } from '../lease/faults.ts';
import type { NodeCases } from '../manager/nodes.ts';
import type { Context } from '../platform/context.ts';
import { errorText } from '../platform/errors.ts';
import { newOperationId } from '../platform/ids.ts';
import type { Agents } from './types.ts';

const LIST_MS = 10_000;

export function agentsOn(ctx: Context, control: ControlClient, nodes: Pick<NodeCases, 'up'>): Agents {
  const list: Agents['list'] = async (nodeId) => {
    const { result } = await control.ask(nodeId, { op: 'list', id: newOperationId(ctx.random), deadlineMs: LIST_MS }).catch((e: unknown) => {
      throw new Error(isFault(e) && e.reasons.length > 0 ? e.reasons.join('; ') : errorText(e), { cause: e });
    });
    if (!('vms' in result)) throw new Error('it answered something else than its VMs');
    return result.vms;
  };
  return {
    list,
    async compare(nodeId) {
      const { hello, reason } = control.state(nodeId);
      if (hello === null) throw new Error(reason ?? 'its agent is not connected');
      const { orphans: requests } = await nodes.up(nodeId, hello, () => list(nodeId));
      const failed: string[] = [];
      await control.call([{ nodeId, requests }], {
        onAnswer: (a) => {
          if ('lost' in a) failed.push(a.reason);
          else if (!a.done.ok) failed.push(a.done.error.message);
        },
      });
      if (failed.length > 0) throw new Error(failed.join('; '));
    },
  };
}
