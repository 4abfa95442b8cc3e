/** Answers for people. */
import type { DoneResult, NodeStatus, VmInfo } from '../../protocol.ts';

export function describe(result: DoneResult): string {
  if ('vm' in result) return describeVm(result.vm);
  if ('vms' in result) return table(result.vms);
  if ('status' in result) return describeStatus(result.status);
  if ('saved' in result) return `${result.totalBytes} bytes are saved\n`;
  if ('releasing' in result) return 'the node is given back\n';
  return Buffer.from(result.console, 'base64').toString('utf8');
}

function describeVm(vm: VmInfo): string {
  const facts = [
    `generation ${vm.generation}`,
    ...(vm.memoryMb > 0 ? [`${vm.memoryMb} MB`, vm.cores === 1 ? '1 core' : `${vm.cores} cores`, `image ${vm.image}`] : []),
    ...(vm.pid === null ? [] : [`process ${vm.pid}`]),
    ...(vm.reach === null ? [] : [`ssh -p ${vm.reach.sshPort} ${vm.reach.host}`]),
  ];
  return `${vm.lease} is ${vm.state}${vm.reason === null ? '' : ` (${vm.reason})`}: ${facts.join(', ')}\n`;
}

function table(vms: readonly VmInfo[]): string {
  if (vms.length === 0) return 'no VMs\n';
  const rows = vms.map((vm) => [
    vm.lease, vm.state, String(vm.generation), String(vm.memoryMb), String(vm.cores), vm.pid === null ? '-' : String(vm.pid),
    vm.reach === null ? '-' : `${vm.reach.host}:${vm.reach.sshPort}`, vm.image,
  ]);
  return align([['NAME', 'STATE', 'GEN', 'MB', 'CORES', 'PID', 'SSH', 'IMAGE'], ...rows]);
}

function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((r) => (r[i] ?? '').length)));
  return rows.map((r) => `${r.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd()}\n`).join('');
}

function describeStatus(s: NodeStatus): string {
  const driver = s.qemuVersion === null ? s.driver : `${s.driver} ${s.qemuVersion} (${s.accelerator ?? 'no accelerator'})`;
  const missing = s.missing.length === 0 ? 'Nothing is missing.\n' : `Missing:\n${s.missing.map((m) => `  ${m}\n`).join('')}`;
  return align([
    ['driver', driver],
    ['memory', `${s.memoryMb} MB`],
    ['cores', String(s.cores)],
    ['disk free', `${s.diskFreeMb} MB`],
    ['image cache', `at most ${s.cacheMb} MB`],
    ['VMs', String(s.vms)],
  ]) + missing;
}
