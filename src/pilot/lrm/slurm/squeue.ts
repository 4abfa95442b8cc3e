/**
 * Slurm's list of jobs, in one command: all users' jobs, as a place in the queue is counted among all of them, and those that
 * have ended, as long as Slurm remembers them (MinJobAge).
 *
 * Job names are any bytes that any user likes, newlines too, so that a name can hold lines that look like jobs. The name is
 * printed last and cut at NAME_WIDTH characters: what follows a newline in it has at most NAME_WIDTH - 1, which is too
 * short for a line with a slot's id in it, let alone the fields before. Nothing else in a line is any user's text.
 */
import { printable, isHost, isSlotId } from '../outside.ts';
import type { Ignored } from '../slots.ts';
import { expandHosts } from './hostlist.ts';
import { stateOf } from './states.ts';
import type { JobState } from '../types.ts';

/** `JOB:|` is the field as wide as it is, and a bar (squeue(1), --Format; release 20.11 or later). */
const FIELDS = ['JobID', 'HetJobID', 'HetJobOffset', 'UserID', 'State', 'Partition', 'PriorityLong', 'RestartCnt', 'StartTime', 'Reason', 'NodeList'] as const;
const NAME_WIDTH = 16;

/** `env`: times as seconds since 1970 (squeue(1), SLURM_TIME_FORMAT: a format of strftime), wherever the command runs. */
export function squeueArgv(squeue: string): string[] {
  return ['env', 'SLURM_TIME_FORMAT=%s', squeue, '--noheader', '--states=all', '--Format', [...FIELDS.map((f) => `${f}:|`), `Name:${NAME_WIDTH}`].join(',')];
}

export interface Line {
  readonly jobId: number;
  /** Of a job of several parts: its first part's id, and this part's place. */
  readonly het: { readonly leader: number; readonly offset: number } | null;
  readonly userId: number;
  readonly word: string;
  readonly state: JobState;
  /** A job may name several. */
  readonly partitions: readonly string[];
  readonly priority: number;
  readonly restarts: number;
  /** ms; null = not known. */
  readonly start: number | null;
  readonly reason: string | null;
  readonly hosts: readonly string[];
  readonly name: string;
}

export interface Lines {
  readonly lines: readonly Line[];
  readonly ignored: readonly Ignored[];
}

const MOST_IGNORED = 100;
const NUMBER = /^\d{1,15}$/;

/** Lines that are none are left out; those of `userId` that cannot be read are named. Never throws. */
export function parseSqueue(text: string, userId: number): Lines {
  const lines: Line[] = [];
  const ignored: Ignored[] = [];
  for (const raw of text.split('\n')) {
    const words = raw.split('|');
    if (words.length <= FIELDS.length) continue;
    // A name may hold bars.
    const fields = [...words.slice(0, FIELDS.length), words.slice(FIELDS.length).join('|')];
    const line = parseLine(fields);
    if (typeof line !== 'string') lines.push(line);
    else if (fields[3] === String(userId) && ignored.length < MOST_IGNORED) ignored.push({ slotId: slotIn(fields), why: `a line of squeue cannot be read (${line}): ${printable(raw) ?? ''}` });
  }
  return { lines, ignored };
}

function slotIn(fields: readonly string[]): string | null {
  const name = (fields.at(-1) ?? '').trimEnd();
  return isSlotId(name) ? name : null;
}

function parseLine(fields: readonly string[]): Line | string {
  const [jobId = '', leader = '', offset = '', userId = '', word = '', partition = '', priority = '', restarts = '', start = '', reason = '', nodes = '', name = ''] = fields;
  for (const [field, value] of [['job id', jobId], ['user', userId], ['priority', priority], ['restarts', restarts]] as const) {
    if (!NUMBER.test(value)) return `${field} "${printable(value) ?? ''}"`;
  }
  const state = stateOf(word, reason);
  if (state === undefined) return `state "${printable(word) ?? ''}"`;
  const hosts = nodes === '' ? [] : expandHosts(nodes);
  if (hosts === undefined || !hosts.every(isHost)) return `nodes "${printable(nodes) ?? ''}"`;
  const het = NUMBER.test(leader) && NUMBER.test(offset) ? { leader: Number(leader), offset: Number(offset) } : null;
  return {
    jobId: Number(jobId), het, userId: Number(userId), word, state, partitions: partition.split(','), priority: Number(priority), restarts: Number(restarts),
    start: NUMBER.test(start) ? Number(start) * 1000 : null, reason: reason === 'None' ? null : printable(reason), hosts, name: name.trimEnd(),
  };
}
