/** WorkspaceStatusService: what a user has, had and reserves. */
import { clark } from '../../soap/names.ts';
import type { Codec } from '../../soap/schema/codec.ts';
import type { Handlers, WsrfParts } from '../call.ts';
import { allocation, currentState, logistics, schedule } from '../describe.ts';
import { endpoint } from '../endpoints.ts';
import { KEYS, SERVICES, STATUS } from '../wire/names.ts';
import { propertyHandlers } from '../properties.ts';

export function statusHandlers({ ctx, config, manager: { workspaces } }: WsrfParts, codec: Codec): Handlers {
  const granularity = Math.max(1, Math.ceil(config.accounting.charge_granularity / 60));
  return {
    async queryUsedAndReservedTime(call) {
      const { charged, reserved } = await workspaces.minutes(call.context);
      return { usedTime: { minutes: charged }, reservedTime: { minutes: reserved } };
    },
    async queryCurrentWorkspaces(call) {
      const now = ctx.clock.now();
      return {
        oneCurrentWorkspace: (await workspaces.list(call.context)).map((w) => ({
          epr: endpoint(call.address, SERVICES.workspace, KEYS.workspace, String(w.number)),
          currentState: currentState(w, now), schedule: schedule(w), ResourceAllocation: allocation(w), logistics: logistics(w),
        })),
      };
    },
    ...propertyHandlers({ document: clark(STATUS, 'StatusRPSet'), read: () => [[{ ns: STATUS, local: 'chargeGranularity' }, granularity]] }, codec),
  };
}
