/** What is done alike to one workspace and to a group. */
import type { Change, Which } from '../../manager/workspaces.ts';
import { clark } from '../../soap/names.ts';
import type { SoapObject } from '../../soap/schema/codec.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { imageName } from '../create.ts';
import { baseFault } from '../faults.ts';
import { TYPES } from '../wire/names.ts';

export function changeHandlers({ manager: { workspaces } }: WsrfParts, which: (call: Call) => Which): Handlers {
  const change = (to: (call: Call) => Change) => async (call: Call) => {
    await workspaces.change(call.context, which(call), to(call));
    return {};
  };
  return { start: change(() => ({ to: 'start' })), shutdown: change(shutdownOf), Destroy: change(() => ({ to: 'end' })) };
}

const CHANGES: Readonly<Record<string, 'shutdown' | 'pause' | 'serialize' | 'reboot' | 'end' | 'save'>> = {
  Normal: 'shutdown', Pause: 'pause', Serialize: 'serialize', Reboot: 'reboot', Trash: 'end', ReadyForTransport: 'save',
};

/** @throws BaseFault */
function shutdownOf(call: Call): Change {
  const input = call.input as SoapObject;
  const kind = String(input['shutdownType'] ?? '');
  const target = (input['PostShutdown'] as SoapObject | undefined)?.['rootPartitionUnpropagationTarget'];
  const to = CHANGES[kind];
  const refused = (why: string): Error => baseFault(clark(TYPES, 'WorkspaceShutdownFault'), why, [{ description: why }]);
  if (to === undefined) throw refused(`no kind of shutdown is called ${kind.slice(0, 40)}`);
  if (to !== 'save' && target !== undefined) throw refused(`a target for the disk goes with ReadyForTransport only, not with ${kind}`);
  return to === 'save' ? { to, name: typeof target === 'string' ? imageName(target) : null } : { to };
}
