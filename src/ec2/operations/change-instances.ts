/** TerminateInstances, RebootInstances, GetConsoleOutput. */
import { list as inputList, required } from '../inputs.ts';
import { instanceId, instanceIds, instanceState, stateShape } from '../instance.ts';
import { operation } from '../operation.ts';
import { boolean, list, struct, text, time } from '../outputs.ts';

/** EC2 keeps the last 64 KB of the console (EC2 API reference, GetConsoleOutput). */
const MAX_CONSOLE = 65_536;

const unique = (ids: readonly string[]): string[] => [...new Set(ids)];

export const terminateInstances = operation({
  name: 'TerminateInstances',
  summary: 'Ends leases.',
  input: { InstanceId: required(instanceIds) },
  ignored: ['Force', 'SkipOsShutdown'],
  output: { instancesSet: list(struct({ instanceId: text, currentState: stateShape, previousState: stateShape })) },
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const changes = await manager.leases.end(caller, unique(p.InstanceId), 'TerminateInstances', { dryRun });
    return {
      instancesSet: changes.map((c) => ({ instanceId: c.id, currentState: instanceState(c.after), previousState: instanceState(c.before) })),
    };
  },
});

export const rebootInstances = operation({
  name: 'RebootInstances',
  summary: 'Reboots leases.',
  input: { InstanceId: required(instanceIds) },
  output: { return: boolean },
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
  mutates: false,
  async run({ manager, caller }, p) {
    const [id] = p.InstanceId as [string];
    const { bytes, at } = await manager.leases.console(caller, id, MAX_CONSOLE);
    return { instanceId: id, timestamp: at, output: bytes.toString('base64') };
  },
});
