/** Credentials of jobs with several nodes, where the launcher does not hand its standard input on. */
import { statSync } from 'node:fs';
import { reasonText } from '../../platform/errors.ts';
import { fail, note, ok, warn } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

export const sharedDirectory: BatchCheck = {
  name: 'shared directory',
  look(_batch, { config: { pilot, pbs, login_node: login } }) {
    if (pilot.lrm !== 'pbs' || pbs.launcher_stdin) return [];
    const dir = pbs.shared_directory;
    if (dir === '') {
      return [warn('shared directory', `${pbs.launcher[0] ?? 'the launcher'} does not hand credentials to the pilots of several nodes: groups of more than one node fail`,
        'set pbs.shared_directory to a directory that all nodes share, or pbs.launcher_stdin = true for a launcher that hands its standard input to every pilot')];
    }
    if (login.host !== '') return [note('shared directory', `${dir} must be there on ${login.host} and on every node, writable for the submitting user`)];
    try {
      if (!statSync(dir).isDirectory()) return [fail('shared directory', `pbs.shared_directory = ${dir} is no directory`)];
      return [ok('shared directory', `${dir} is there; every node must have it under the same path`)];
    } catch (e) {
      return [fail('shared directory', `pbs.shared_directory = ${dir} cannot be used: ${reasonText(e)}`, `make it, for the service’s user alone: install -d -m 0700 ${dir}`)];
    }
  },
};
