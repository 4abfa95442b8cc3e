/** `create` of the factory: what the client describes, as a request of ours. Checked in the order in which the original did. */
import { LEASE_STATES } from '../lease/states.ts';
import type { CreateRequest, GridRequest } from '../lease/types.ts';
import type { Config } from '../platform/config.ts';
import type { SoapObject } from '../soap/schema/codec.ts';
import { customization } from './customize.ts';
import { durationSeconds } from './durations.ts';
import { keyOf } from './endpoints.ts';
import { creationFault, deniedFault, metadataFault } from './faults.ts';
import { KEYS } from './wire/names.ts';

type Site = Config['wsrf'];

/** @throws BaseFault */
export function createRequest(input: SoapObject, { wsrf: site, lease }: Config): CreateRequest {
  const metadata = need(part(input, 'metadata'), 'the metadata is missing');
  const resources = need(part(input, 'resourceRequest'), 'the resource request is missing');
  const { image, architecture } = definition(metadata, site);
  const nics = networking(metadata);
  const count = Number(resources['NodeNumber'] ?? 1);
  if (count < 1) throw deniedFault('NodeNumber must be 1 at least');
  if (text(metadata['name']) === '') throw creationFault('the workspace has no name');
  const { memoryMb, cores } = allocation(part(resources, 'ResourceAllocation') ?? {});
  const durationS = running(part(resources, 'DeploymentTime')?.['minDuration']);
  return {
    minCount: count, maxCount: count, image, resources: { memoryMb, ...(cores === undefined ? {} : { cores }) },
    networks: nics.map((n) => n.association || lease.default_network), ...(durationS === undefined ? {} : { durationS }),
    ...customization(part(input, 'optionalParameters') ?? {}),
    grid: {
      name: text(metadata['name']), nics: nics.map((n) => n.name), architecture, cores: cores !== undefined,
      target: initialState(resources), saveAs: atTheEnd(resources), ensemble: ensemble(input),
    },
  };
}

const part = (of: SoapObject, name: string): SoapObject | undefined => (of[name] as SoapObject | null | undefined) ?? undefined;
const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '');

function need<T>(value: T | undefined, why: string): T {
  if (value === undefined) throw metadataFault(why);
  return value;
}

function definition(metadata: SoapObject, site: Site): { image: string; architecture: string } {
  const whole = need(part(metadata, 'definition'), 'the definition is missing');
  const requirements = need(part(whole, 'requirements'), 'the requirements are missing');
  const architecture = text(need(part(requirements, 'CPUArchitecture'), 'the CPU architecture is missing')['CPUArchitectureName']);
  if (architecture === '') throw metadataFault('the CPU architecture has no name');
  const disks = need(part(whole, 'diskCollection'), 'the disks are missing');
  const root = need(part(disks, 'rootVBD'), 'the root disk is missing');
  if (text(root['location']) === '' || text(root['mountAs']) === '') throw metadataFault('the root disk needs location and mountAs');
  if (disks['RAM'] !== undefined || disks['swap'] !== undefined) throw metadataFault('serialized images (RAM, swap) are not supported');
  if (list(disks['partition']).length > 0 || list(disks['blankspacePartition']).length > 0) throw creationFault('this site gives a VM one disk: partitions besides the root disk are not supported');
  if (requirements['kernel'] !== undefined) throw creationFault('the VMs of this site boot the kernel of their image; leave the kernel out');
  vmm(part(requirements, 'VMM'), site);
  if (!site.cpu_architectures.some((a) => a === architecture)) throw deniedFault(`CPU architecture ${architecture} is not offered; the site has ${site.cpu_architectures.join(', ')}`);
  return { image: imageName(text(root['location'])), architecture };
}

/** Clients know one kind of VMM; what the site runs is said to be that. */
function vmm(asked: SoapObject | undefined, site: Site): void {
  if (asked === undefined) return;
  if (text(asked['type']) === '') throw metadataFault('the VMM has no type');
  const versions = list(asked['version']).map(text);
  const fits = asked['type'] === site.vmm_type && (versions.length === 0 || versions.some((v) => site.vmm_versions.includes(v)));
  if (!fits) throw deniedFault(`VMM ${text(asked['type'])} ${versions.join(', ')} is not offered; the site has ${site.vmm_type} ${site.vmm_versions.join(', ')}`);
}

/** Images are found by name, wherever the client believes them to lie. */
export function imageName(location: string): string {
  const name = location.replace(/^[a-z][a-z0-9+.-]*:\/*/i, '').replace(/[?#].*$/, '').split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function networking(metadata: SoapObject): Array<{ name: string; association: string }> {
  const logistics = part(metadata, 'logistics') ?? {};
  if (logistics['contextualization'] !== undefined) throw creationFault('contextualization is not offered: this site has no context broker; give VMs what they need as user data');
  const names = new Set<string>();
  return list(part(logistics, 'networking')?.['nic']).map((entry) => {
    const nic = entry as SoapObject;
    const name = text(nic['name']);
    if (name === '' || names.has(name)) throw creationFault(name === '' ? 'a NIC has no name' : `two NICs are named ${name}`);
    names.add(name);
    if (nic['MAC'] !== undefined) throw creationFault(`NIC ${name}: the site chooses MAC addresses`);
    checkAddress(name, part(nic, 'ipConfig') ?? {});
    return { name, association: text(nic['association']) };
  });
}

const ADDRESS = ['ipAddress', 'hostname', 'broadcast', 'gateway', 'netmask', 'network'];

function checkAddress(nic: string, config: SoapObject): void {
  if (config['acquisitionMethod'] !== 'AllocateAndConfigure') throw deniedFault(`NIC ${nic}: this site chooses addresses; ask for AllocateAndConfigure`);
  const given = ADDRESS.filter((a) => config[a] !== undefined && config[a] !== null);
  if (given.length > 0) throw creationFault(`NIC ${nic}: an address that is allocated cannot be given too (${given.join(', ')})`);
}

function allocation(asked: SoapObject): { memoryMb: number; cores: number | undefined } {
  const memoryMb = exact(asked['IndividualPhysicalMemory'], 'IndividualPhysicalMemory');
  if (memoryMb === undefined) throw metadataFault('IndividualPhysicalMemory with an Exact number of megabytes is needed; ranges are not understood');
  if (list(part(asked, 'Storage')?.['entry']).length > 0) throw metadataFault('Storage has no blank partition to belong to');
  return { memoryMb, cores: exact(asked['IndividualCPUCount'], 'IndividualCPUCount') };
}

const MOST = 2 ** 31 - 1;

function exact(range: unknown, what: string): number | undefined {
  if (range === undefined || range === null) return undefined;
  const [first] = list((range as SoapObject)['Exact']);
  const value = Number(typeof first === 'object' && first !== null ? (first as SoapObject)['$'] : first);
  if (!Number.isInteger(value) || value < 1 || value > MOST) throw metadataFault(`${what} needs an Exact value that is a whole number from 1`);
  return value;
}

function running(duration: unknown): number | undefined {
  return duration === undefined || duration === null ? undefined : durationSeconds(duration as object);
}

function initialState(resources: SoapObject): GridRequest['target'] {
  const state = resources['InitialState'] ?? 'Running';
  if (state === 'Unstaged') throw metadataFault('the initial state Unstaged is not possible: nothing is staged here');
  const known = LEASE_STATES.find((s) => s === state);
  return known === 'Unpropagated' || known === 'Propagated' || known === 'Paused' ? known : null;
}

/** The disk is kept where the client says under which name. */
function atTheEnd(resources: SoapObject): string | null {
  if (resources['ShutdownMechanism'] === 'Serialize') throw creationFault('nothing of a VM can stay serialized when its time is over: serialize it before with shutdown, and extend its time');
  const target = part(resources, 'PostShutdown');
  if (target === undefined) return null;
  if (resources['ShutdownMechanism'] === 'Trash') throw creationFault('a VM that is thrown away at its end cannot be saved: leave ShutdownMechanism or PostShutdown out');
  return imageName(text(target['rootPartitionUnpropagationTarget']));
}

function ensemble(input: SoapObject): GridRequest['ensemble'] {
  if (input['contextEPR'] !== undefined || input['lockContext'] !== undefined) throw creationFault('contexts are not offered: this site has no context broker; give VMs what they need as user data');
  const reference = part(input, 'ensembleEPR');
  const join = reference === undefined ? undefined : keyOf(reference, KEYS.ensemble);
  if (reference !== undefined && join === undefined) throw metadataFault('the ensemble reference has no ensemble key');
  if (input['partOfEnsemble'] !== true) return null;
  return join === undefined ? 'new' : { join };
}

function list(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}
