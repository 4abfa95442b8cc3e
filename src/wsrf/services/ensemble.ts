/** WorkspaceEnsembleService: groups that are started together. */
import type { Workspace } from '../../manager/workspaces.ts';
import type { SoapObject } from '../../soap/schema/codec.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { currentState, networking, schedule } from '../describe.ts';
import { endpoint } from '../endpoints.ts';
import { KEYS, SERVICES } from '../wire/names.ts';

export function ensembleHandlers({ ctx, manager: { workspaces } }: WsrfParts): Handlers {
  return {
    async done(call) {
      await workspaces.launch(call.context, call.key ?? '');
      return {};
    },
    async report(call) {
      const all = await workspaces.report(call.context, call.key ?? '');
      return { report: wanted(call, all) ? all.map((w) => oneReport(call, w, ctx.clock.now())) : [] };
    },
    async Destroy(call) {
      await workspaces.change(call.context, { ensemble: call.key ?? '' }, { to: 'end' });
      return {};
    },
  };
}

/** Without a condition always; with both, when either holds. */
function wanted(call: Call, all: readonly Workspace[]): boolean {
  const input = call.input as SoapObject;
  const onError = input['returnOnlyIfErrorPresent'] === true;
  const atState = input['returnOnlyIfAllAtState'];
  if (!onError && atState === undefined) return true;
  const failed = all.some((w) => w.visible === 'Corrupted' || w.visible === 'Cancelled');
  return (onError && failed) || (atState !== undefined && all.every((w) => w.visible === atState));
}

function oneReport(call: Call, w: Workspace, now: number): SoapObject {
  return {
    epr: endpoint(call.address, SERVICES.workspace, KEYS.workspace, String(w.number)),
    currentState: currentState(w, now), schedule: schedule(w), networking: networking(w),
  };
}
