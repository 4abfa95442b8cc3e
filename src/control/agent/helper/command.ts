/**
 * The command that becomes a VM's process: small programs that set the process up and replace themselves by the next one,
 * QEMU last, so that the process stays the agent's child.
 *
 * In a job of a batch system QEMU is shielded: a signal that means the whole job (`scancel` and `qdel` send SIGTERM to
 * every process) does not end it, because the pilot ends it in order; and when the pilot is killed the kernel kills QEMU
 * too (prctl(2), PR_SET_PDEATHSIG), so that no VM outlives the one that could end it.
 */
import { run } from '../drivers/qemu/programs.ts';
import type { Programs } from '../drivers/qemu/programs.ts';

export interface JobShield {
  readonly blocksSignals: boolean;
  readonly followsParent: boolean;
  /** Sentences on what is missing, each with how to mend it. */
  readonly lacks: readonly string[];
}

const BLOCK = '--block-signal=TERM,INT,HUP';
const FOLLOW = ['--pdeathsig', 'KILL'];
const PROBE_MS = 5_000;

const works = (program: string, args: readonly string[], env: string): Promise<boolean> =>
  run(program, [...args, env, '--version'], { ms: PROBE_MS }).then(() => true, () => false);

/** A process can be started that the kernel kills when its parent dies. */
export const canFollow = ({ env, setpriv }: Programs): Promise<boolean> => works(setpriv, FOLLOW, env);

/** Tries whether the node's programs know the options. */
export async function probeJobShield(programs: Programs): Promise<JobShield> {
  const { env, setpriv } = programs;
  const [blocksSignals, followsParent] = await Promise.all([works(env, [BLOCK], env), canFollow(programs)]);
  return {
    blocksSignals,
    followsParent,
    lacks: [
      ...(blocksSignals ? [] : [`${env} cannot block signals, so VMs end at once when the batch system signals their job: install coreutils 8.31 or later`]),
      ...(followsParent ? [] : [`${setpriv} cannot have VMs follow the pilot, so they stay until the epilogue when it is killed: install util-linux 2.33 or later`]),
    ],
  };
}

/** All but QEMU's arguments. `fileBytes`: the largest file that QEMU may write. */
export function vmCommand(programs: Programs, fileBytes: number, shield: JobShield | null): [string, ...string[]] {
  const { prlimit, env, qemu } = programs;
  const limits: [string, ...string[]] = [
    prlimit, `--fsize=${fileBytes}`, '--core=0', env, '--ignore-signal=XFSZ', ...(shield?.blocksSignals === true ? [BLOCK] : []), qemu,
  ];
  return follow(programs, shield?.followsParent === true, limits);
}

/** The same command, of a process that the kernel kills when its parent dies, where that is wanted and can be had. */
export const follow = ({ setpriv }: Programs, wanted: boolean, command: [string, ...string[]]): [string, ...string[]] =>
  (wanted ? [setpriv, ...FOLLOW, ...command] : command);
