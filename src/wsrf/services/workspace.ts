/** WorkspaceService: one lease. */
import { Fault } from '../../lease/faults.ts';
import type { Which } from '../../manager/workspaces.ts';
import { clark } from '../../soap/names.ts';
import type { Codec, SoapObject } from '../../soap/schema/codec.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { allocation, currentState, logistics, schedule, terminationTime } from '../describe.ts';
import { CURRENT_STATE, LIFETIME, LOGISTICS, NEGOTIABLE, NOTIFICATION, RESOURCE_TERMINATION, SIMPLE_TOPICS, TYPES, WORKSPACE } from '../wire/names.ts';
import { propertyHandlers, type Property } from '../properties.ts';
import { changeHandlers } from './changes.ts';

export function workspaceHandlers(parts: WsrfParts, codec: Codec): Handlers {
  const { ctx, manager: { workspaces, leases } } = parts;
  return {
    ...changeHandlers(parts, which),
    async SetTerminationTime(call) {
      const at = (call.input as SoapObject)['RequestedTerminationTime'];
      const [w] = await workspaces.find(call.context, which(call));
      const now = ctx.clock.now();
      if (typeof at !== 'number') throw new Fault('DurationRefused', 'A workspace has an end; it cannot be without one');
      // As every container of the time does.
      if (at <= now) await workspaces.change(call.context, which(call), { to: 'end' });
      else await leases.setEnd(call.context, [w?.id ?? ''], { endsAt: at });
      return { NewTerminationTime: at, CurrentTime: now };
    },
    ...propertyHandlers({ document: clark(WORKSPACE, 'ServiceRPSet'), repeated: ['Topic', 'TopicExpressionDialects'], read: (call) => properties(parts, call) }, codec),
  };
}

const NUMBER = /^\d{1,15}$/;

export function numberOf(call: Call): number {
  const key = call.key ?? '';
  if (!NUMBER.test(key)) throw new Fault('LeaseNotFound', `unknown workspace: '${key.slice(0, 64)}'`);
  return Number(key);
}

const which = (call: Call): Which => ({ number: numberOf(call) });

async function properties({ ctx, manager }: WsrfParts, call: Call): Promise<Property[]> {
  const [w] = await manager.workspaces.find(call.context, which(call));
  if (w === undefined) throw new Fault('LeaseNotFound', 'unknown workspace');
  const now = ctx.clock.now();
  return [
    [{ ns: LOGISTICS, local: 'logistics' }, logistics(w)],
    [{ ns: TYPES, local: 'schedule' }, schedule(w)],
    [{ ns: NEGOTIABLE, local: 'ResourceAllocation' }, allocation(w)],
    [{ ns: LIFETIME, local: 'CurrentTime' }, now],
    [{ ns: LIFETIME, local: 'TerminationTime' }, terminationTime(w)],
    [CURRENT_STATE, currentState(w, now)],
    [{ ns: NOTIFICATION, local: 'FixedTopicSet' }, false],
    [{ ns: NOTIFICATION, local: 'Topic' }, topic(CURRENT_STATE), topic(RESOURCE_TERMINATION)],
    [{ ns: NOTIFICATION, local: 'TopicExpressionDialects' }, SIMPLE_TOPICS],
  ];
}

const topic = (name: typeof CURRENT_STATE | typeof RESOURCE_TERMINATION): SoapObject => ({ '$': name, '@Dialect': SIMPLE_TOPICS });
