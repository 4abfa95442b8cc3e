/** What a command says, with a bound. */

/** 10,000 jobs in Slurm's list are 2 MB, in Torque's full list about 30 MB. */
export const LONGEST_OUTPUT = 64 * 1024 * 1024;
const LONGEST_STDERR = 64 * 1024;

export interface Output {
  /** False when that was more than is kept. */
  stdout(data: Buffer): boolean;
  /** The beginning is kept: there stands what went wrong. */
  stderr(data: Buffer): void;
  texts(): { readonly stdout: string; readonly stderr: string };
}

export function outputOf(longest: number): Output {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  let [outBytes, errBytes] = [0, 0];
  return {
    stdout(data) {
      if (outBytes + data.length > longest) return false;
      outBytes += data.length;
      out.push(data);
      return true;
    },
    stderr(data) {
      const kept = data.subarray(0, LONGEST_STDERR - errBytes);
      errBytes += kept.length;
      if (kept.length > 0) err.push(kept);
    },
    texts: () => ({ stdout: Buffer.concat(out).toString('utf8'), stderr: Buffer.concat(err).toString('utf8') }),
  };
}
