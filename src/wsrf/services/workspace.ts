/** WorkspaceService: one lease. */
import { Fault } from '../../lease/faults.ts';
import type { Change, Which } from '../../manager/workspaces.ts';
import { clark } from '../../soap/names.ts';
import type { Codec, SoapObject } from '../../soap/schema/codec.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { imageName } from '../create.ts';
import { allocation, currentState, logistics, schedule, terminationTime } from '../describe.ts';
import { baseFault } from '../faults.ts';
import { CURRENT_STATE, LIFETIME, LOGISTICS, NEGOTIABLE, NOTIFICATION, RESOURCE_TERMINATION, SIMPLE_TOPICS, TYPES, WORKSPACE } from '../wire/names.ts';
import { propertyHandlers, type Property } from '../properties.ts';

export function workspaceHandlers(parts: WsrfParts, codec: Codec): Handlers {
  const { ctx, manager: { workspaces, leases } } = parts;
  return {
    async start(call) {
      await workspaces.change(call.context, which(call), { to: 'start' });
      return {};
    },
    async shutdown(call) {
      await workspaces.change(call.context, which(call), shutdownOf(call));
      return {};
    },
    async Destroy(call) {
      await workspaces.change(call.context, which(call), { to: 'end' });
      return {};
    },
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

const CHANGES: Readonly<Record<string, 'shutdown' | 'pause' | 'reboot' | 'end' | 'save'>> = {
  Normal: 'shutdown', Pause: 'pause', Reboot: 'reboot', Trash: 'end', ReadyForTransport: 'save',
};

/** Of one workspace or of a group. @throws BaseFault */
export function shutdownOf(call: Call): Change {
  const input = call.input as SoapObject;
  const kind = String(input['shutdownType'] ?? '');
  const target = (input['PostShutdown'] as SoapObject | undefined)?.['rootPartitionUnpropagationTarget'];
  const to = CHANGES[kind];
  const refused = (why: string): Error => baseFault(clark(TYPES, 'WorkspaceShutdownFault'), why, [{ description: why }]);
  if (to === undefined) throw refused(kind === 'Serialize' ? 'the VMs of this site cannot be serialized; use Pause, or ReadyForTransport to keep the disk' : `no kind of shutdown is called ${kind.slice(0, 40)}`);
  if (to !== 'save' && target !== undefined) throw refused(`a target for the disk goes with ReadyForTransport only, not with ${kind}`);
  return to === 'save' ? { to, name: typeof target === 'string' ? imageName(target) : null } : { to };
}
