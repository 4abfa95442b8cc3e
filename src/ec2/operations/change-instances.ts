/** TerminateInstances, StartInstances, StopInstances, RebootInstances, MonitorInstances, UnmonitorInstances, GetConsoleOutput, GetPasswordData. */
import { boolean as booleanInput, list as inputList, required, unsupportedWhen } from '../inputs.ts';
import { instanceId, instanceIds, stateChange, stateChangeShape } from '../instance.ts';
import { operation } from '../operation.ts';
import type { Operation } from '../operation.ts';
import { boolean, list, struct, text, time } from '../outputs.ts';

/** EC2 keeps the last 64 KB of the console (EC2 API reference, GetConsoleOutput). */
const MAX_CONSOLE = 65_536;

const unique = (ids: readonly string[]): string[] => [...new Set(ids)];

export const terminateInstances = operation({
  name: 'TerminateInstances',
  summary: 'Ends leases.',
  input: { InstanceId: required(instanceIds) },
  ignored: ['Force', 'SkipOsShutdown'],
  output: { instancesSet: list(stateChangeShape) },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'EndProtected'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const changes = await manager.leases.end(caller, unique(p.InstanceId), 'TerminateInstances', { dryRun });
    return { instancesSet: changes.map(stateChange) };
  },
});

export const startInstances = operation({
  name: 'StartInstances',
  summary: 'Starts stopped leases; their time has gone on meanwhile.',
  input: { InstanceId: required(instanceIds) },
  ignored: ['AdditionalInfo'],
  output: { instancesSet: list(stateChangeShape) },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'StateRefused'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const changes = await manager.leases.start(caller, unique(p.InstanceId), { dryRun });
    return { instancesSet: changes.map(stateChange) };
  },
});

export const stopInstances = operation({
  name: 'StopInstances',
  summary: 'Shuts leases down, and keeps disk, room, addresses and time; with Force the guests are not asked first.',
  input: {
    InstanceId: required(instanceIds),
    Force: booleanInput,
    Hibernate: unsupportedWhen('true', 'Guests cannot hibernate here: stop the instance without it.'),
    SkipOsShutdown: booleanInput,
  },
  output: { instancesSet: list(stateChangeShape) },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'StateRefused', 'StopProtected', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const changes = await manager.leases.stop(caller, unique(p.InstanceId), { dryRun, hard: p.Force === true || p.SkipOsShutdown === true });
    return { instancesSet: changes.map(stateChange) };
  },
});

/** Detailed monitoring is nothing that this service has: what it answers is what holds before and after. */
function monitoring(name: 'MonitorInstances' | 'UnmonitorInstances'): Operation {
  return operation({
    name,
    summary: 'Answers that detailed monitoring is disabled: there is none to be had.',
    input: { InstanceId: required(instanceIds) },
    output: { instancesSet: list(struct({ instanceId: text, monitoring: struct({ state: text }) })) },
    errors: ['LeaseIdMalformed', 'LeaseNotFound'],
    mutates: true,
    async run({ manager, caller }, p) {
      const leases = await manager.leases.describe(caller, { ids: unique(p.InstanceId), missing: 'fault' });
      return { instancesSet: leases.map((l) => ({ instanceId: l.id, monitoring: { state: 'disabled' } })) };
    },
  });
}
export const monitorInstances = monitoring('MonitorInstances');
export const unmonitorInstances = monitoring('UnmonitorInstances');

export const rebootInstances = operation({
  name: 'RebootInstances',
  summary: 'Reboots leases.',
  input: { InstanceId: required(instanceIds) },
  output: { return: boolean },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'StateRefused'],
  mutates: true,
  repeatable: () => false,
  async run({ manager, caller, dryRun }, p) {
    await manager.leases.reboot(caller, unique(p.InstanceId), { dryRun });
    return { return: true };
  },
});

export const getConsoleOutput = operation({
  name: 'GetConsoleOutput',
  summary: 'Shows the end of a guest\'s serial console.',
  // boto 2 sends InstanceId.1.
  input: { InstanceId: required(inputList(instanceId, 1)) },
  ignored: ['Latest'],
  output: { instanceId: text, timestamp: time, output: text },
  errors: ['LeaseIdMalformed', 'LeaseNotFound', 'NodeUnreachable', 'NodeRefused'],
  mutates: false,
  async run({ manager, caller }, p) {
    const [id] = p.InstanceId as [string];
    const { bytes, at } = await manager.leases.console(caller, id, MAX_CONSOLE);
    return { instanceId: id, timestamp: at, output: bytes.toString('base64') };
  },
});

export const getPasswordData = operation({
  name: 'GetPasswordData',
  summary: 'Answers that there is no password: guests are reached with keys.',
  input: { InstanceId: required(inputList(instanceId, 1)) },
  output: { instanceId: text, timestamp: time, passwordData: text },
  errors: ['LeaseIdMalformed', 'LeaseNotFound'],
  mutates: false,
  async run({ ctx, manager, caller }, p) {
    const [id] = p.InstanceId as [string];
    await manager.leases.describe(caller, { ids: [id], missing: 'fault' });
    return { instanceId: id, timestamp: ctx.clock.now(), passwordData: '' };
  },
});
