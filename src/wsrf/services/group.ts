/** WorkspaceGroupService: the leases of one create, changed as one. */
import type { Which } from '../../manager/workspaces.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { shutdownOf } from './workspace.ts';

const which = (call: Call): Which => ({ group: call.key ?? '' });

export function groupHandlers({ manager: { workspaces } }: WsrfParts): Handlers {
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
  };
}
