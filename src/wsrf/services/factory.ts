/** WorkspaceFactoryService: leases are made here. */
import type { Workspace } from '../../manager/workspaces.ts';
import type { Codec, SoapObject } from '../../soap/schema/codec.ts';
import { clark } from '../../soap/names.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { createRequest } from '../create.ts';
import { networking, schedule } from '../describe.ts';
import { endpoint } from '../endpoints.ts';
import { DEFINITION, JSDL, KEYS, SERVICES, TYPES, WORKSPACE } from '../wire/names.ts';
import { propertyHandlers, type Property } from '../properties.ts';

export function factoryHandlers(parts: WsrfParts, codec: Codec): Handlers {
  return {
    create: (call) => create(parts, call),
    ...propertyHandlers({ document: clark(WORKSPACE, 'FactoryRPSet'), read: () => properties(parts) }, codec),
  };
}

async function create({ manager: { workspaces }, config }: WsrfParts, call: Call): Promise<SoapObject> {
  const input = call.input as SoapObject;
  const made = await workspaces.create(call.context, createRequest(input, config));
  const ensemble = made[0]?.grid?.ensemble ?? null;
  if (ensemble === null || input['ensembleDone'] !== true) return created(call.address, made);
  return created(call.address, await launched({ workspaces }, call, ensemble, made));
}

/** The last of an ensemble begins all of them, or is not made. */
async function launched({ workspaces }: Pick<WsrfParts['manager'], 'workspaces'>, { context }: Call, ensemble: string, made: readonly Workspace[]): Promise<Workspace[]> {
  const group = made[0]?.grid?.group ?? '';
  try {
    await workspaces.launch(context, ensemble);
  } catch (e) {
    await workspaces.change(context, { group }, { to: 'end' });
    throw e;
  }
  return workspaces.find(context, { group });
}

function created(address: string, made: readonly Workspace[]): SoapObject {
  const grid = made[0]?.grid ?? null;
  return {
    CreatedWorkspace: made.map((w) => ({ epr: endpoint(address, SERVICES.workspace, KEYS.workspace, String(w.number)), schedule: schedule(w), networking: networking(w) })),
    GroupEPR: grid === null || made.length < 2 ? null : endpoint(address, SERVICES.group, KEYS.group, grid.group),
    EnsembleEPR: grid?.ensemble == null ? null : endpoint(address, SERVICES.ensemble, KEYS.ensemble, grid.ensemble),
    ContextEPR: null,
  };
}

async function properties({ config: { lease, wsrf }, manager }: WsrfParts): Promise<Property[]> {
  const association = await manager.workspaces.associations();
  return [
    [{ ns: TYPES, local: 'DefaultRunningTime' }, minutes(Math.min(lease.default_duration, lease.max_duration))],
    [{ ns: TYPES, local: 'MaximumRunningTime' }, minutes(lease.max_duration)],
    [{ ns: JSDL, local: 'CPUArchitectureName' }, wsrf.cpu_architectures[0]],
    [{ ns: DEFINITION, local: 'VMM' }, { type: wsrf.vmm_type, version: wsrf.vmm_versions }],
    [{ ns: TYPES, local: 'Associations' }, ...(association.length === 0 ? [] : [{ association }])],
  ];
}

const minutes = (seconds: number): object => ({ minutes: Math.floor(seconds / 60) });
