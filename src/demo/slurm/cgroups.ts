/**
 * Cgroups of `proctrack/cgroup`, version 1 hierarchy: each slurmd makes `slurm_NODE` in the freezer and nobody removes it. The
 * names are the nodes', so that two private Slurms that track by cgroup exclude each other on one machine.
 */
import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { StartError } from '../../platform/errors.ts';

const FREEZER = '/sys/fs/cgroup/freezer';

const cgroupOf = (node: string): string => join(FREEZER, `slurm_${node}`);

/** @throws StartError where cgroups cannot be used */
export function requireCgroups(nodes: readonly string[]): void {
  if (process.getuid?.() !== 0) throw new StartError('Slurm tracks processes by cgroup for root only; use linuxproc');
  if (!existsSync(FREEZER)) throw new StartError(`there is no ${FREEZER}, the freezer of cgroups version 1; use linuxproc`);
  const taken = nodes.map(cgroupOf).find((dir) => existsSync(dir));
  if (taken !== undefined) throw new StartError(`${taken} is there: another Slurm on this machine tracks by cgroup; stop it, or remove the directory when it is gone`);
}

export function removeCgroups(nodes: readonly string[]): void {
  for (const dir of nodes.map(cgroupOf)) if (existsSync(dir)) removeTree(dir);
}

/** Files of a cgroup are the kernel's and go with it; only directories are removed, the innermost first. */
function removeTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(dir, entry.name));
  rmdirSync(dir);
}
