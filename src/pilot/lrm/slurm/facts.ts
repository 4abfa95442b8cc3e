/** What `scontrol show config` and `scontrol show partition` say (scontrol(1)). Pure. */

import type { SpotFacts } from '../types.ts';

export interface SlurmConfig {
  readonly version: string;
  /** s */
  readonly killWaitS: number | null;
  readonly epilogue: string | null;
}

/** `Name = value` a line; Slurm 24.05 and later number what may stand several times: `Epilog[0]`. */
function valueOf(text: string, name: string): string | null {
  const value = new RegExp(`^${name}(?:\\[0\\])?\\s*=[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
  return value === '' || value === '(null)' ? null : value;
}

export function parseConfig(text: string): SlurmConfig {
  const seconds = /^(\d{1,9}) sec$/.exec(valueOf(text, 'KillWait') ?? '')?.[1];
  return { version: valueOf(text, 'SLURM_VERSION') ?? 'unknown', killWaitS: seconds === undefined ? null : Number(seconds), epilogue: valueOf(text, 'Epilog') };
}

/**
 * Nodes of the partition, or of the default one when `partition` is empty; null when the text does not say.
 * One line a partition (`--oneliner`), `Name=value` words.
 */
export function partitionNodes(text: string, partition: string): number | null {
  const word = partitionWords(text, partition);
  return word === null ? null : number(word('TotalNodes'));
}

/** How jobs of the partition give way; null = there is no such partition. */
export function spotFacts(text: string, partition: string): SpotFacts | null {
  const word = partitionWords(text, partition);
  return word === null ? null : { nodes: number(word('TotalNodes')), preemptMode: word('PreemptMode') ?? 'unknown', graceS: number(word('GraceTime')) ?? 0 };
}

function partitionWords(text: string, partition: string): ((name: string) => string | undefined) | null {
  for (const line of text.split('\n')) {
    const word = (name: string): string | undefined => new RegExp(`(?:^| )${name}=(\\S*)`).exec(line)?.[1];
    if (partition === '' ? word('Default') === 'YES' : word('PartitionName') === partition) return word;
  }
  return null;
}

const number = (text: string | undefined): number | null => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : null);
