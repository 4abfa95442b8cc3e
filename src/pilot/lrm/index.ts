/** The adapter that the configuration names, over the commands of this machine or of a login node. */
import type { Config } from '../../platform/config.ts';
import type { Context } from '../../platform/context.ts';
import { StartError } from '../../platform/errors.ts';
import { pbsLrm } from './pbs/index.ts';
import { commandEnvironment, localRunner } from './runner.ts';
import { sshRunner } from './runner-ssh.ts';
import { slurmLrm } from './slurm/index.ts';
import type { CommandRunner, Lrm } from './types.ts';

export interface BatchSystem {
  readonly lrm: Lrm;
  /** Ends the connection to the login node, when there is one. */
  close(): void;
}

export interface BatchOptions {
  /** This process's environment, of which commands get a part. */
  readonly env: NodeJS.ProcessEnv;
  /** Private key for the login node when the configuration names none. */
  readonly operatingKey: string;
}

/** @throws StartError when the login node's settings cannot be used */
export function createBatchSystem(ctx: Context, config: Config, options: BatchOptions): BatchSystem {
  const { host, port, user, key, host_key: hostKey } = config.login_node;
  if (host === '') return { lrm: createLrm(config, localRunner(ctx.clock, commandEnvironment(options.env))), close: () => undefined };
  if (user === '') throw new StartError(`login_node.user is empty; set it to the account of ${host} whose jobs the pilots are`);
  const runner = sshRunner(ctx, { host, port, user, hostKey, keyFile: key === '' ? options.operatingKey : key });
  return { lrm: createLrm(config, runner), close: () => runner.close() };
}

export function createLrm(config: Pick<Config, 'pilot' | 'pilot_spot' | 'slurm' | 'pbs'>, runner: CommandRunner): Lrm {
  const timeoutMs = config.pilot.command_deadline * 1000;
  switch (config.pilot.lrm) {
    case 'slurm': return slurmLrm(config.slurm, config.pilot_spot, runner, timeoutMs);
    case 'pbs': return pbsLrm(config.pbs, config.pilot_spot, config.slurm, runner, timeoutMs);
  }
}
