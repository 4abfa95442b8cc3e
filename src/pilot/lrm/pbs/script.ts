/**
 * The job's script for Torque and OpenPBS. On one node the script becomes the pilot. On several, the site's launcher starts
 * the pilots. Either it hands them its standard input; or each runs a file in a directory that all nodes share, which the
 * script makes for its own user only and removes at its end.
 *
 * SIGTERM reaches every process of the job, the launcher too, and the job is over when its script is: so the script waits
 * for pilots that outlive their launcher.
 */
import { command, quote, script, withInput } from '../shell.ts';
import type { PbsSettings } from '../settings.ts';
import type { JobPart, JobRequest } from '../types.ts';
import { ppnOf } from './submit.ts';

/** @throws Error with a sentence for the administrator when the settings have no way to start such a job */
export function pbsScript(settings: PbsSettings, job: JobRequest): string {
  const [only] = job.parts;
  if (only !== undefined && job.parts.length === 1) {
    if (only.nodes === 1) return script([withInput(['exec', ...only.argv], job.credentials)]);
    if (settings.launcher_stdin) return launched(settings, only, job.credentials);
  }
  if (settings.shared_directory === '') {
    throw new Error('a job of several nodes needs pbs.shared_directory, where its pilots read their credentials, or a launcher that hands on its standard input (pbs.launcher_stdin)');
  }
  return shared(settings, job);
}

function launched(settings: PbsSettings, part: JobPart, credentials: string): string {
  return script(['trap : TERM', withInput([...settings.launcher, ...part.argv], credentials, true), ...WAIT]);
}

/** `wait` returns early when a signal comes. */
const WAIT = ['launcher=$!', 'while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; code=$?; done'];

function shared(settings: PbsSettings, job: JobRequest): string {
  const file = `${settings.shared_directory.replace(/\/+$/, '')}/${job.slotId}`;
  return script([
    'umask 077',
    'told=no',
    'trap \'told=yes\' TERM',
    `file=${quote(file)}`,
    'trap \'rm -f "$file" "$file".*\' EXIT',
    'rm -f "$file" "$file".*',
    // Nobody else's file is written to, whoever made it first.
    'set -C',
    'cat > "$file" <<\'NIMBUS_NODE\' || exit 1',
    ...onNode(job),
    'NIMBUS_NODE',
    ...(job.parts.length === 1 ? [] : [assignment(settings, job.parts)]),
    `${command(settings.launcher)} /bin/sh "$file" &`,
    ...WAIT,
    // Each pilot's node has a mark until the pilot has ended. The batch system's SIGKILL ends this wait at the latest.
    'while [ "$told" = yes ] && ls "$file".on.* >/dev/null 2>&1; do sleep 1; done',
    'exit "${code:-1}"',
  ]);
}

function onNode(job: JobRequest): string[] {
  const pilots = job.parts.map((part) => withInput(part.argv, job.credentials));
  const start = pilots.length === 1 ? pilots : [
    'case "$(awk -v me="$(hostname)" \'BEGIN { sub(/[.].*/, "", me) } $1 == me { print $2 }\' "$0.parts")" in',
    ...pilots.flatMap((pilot, part) => [`${part})`, pilot, ';;']),
    '*) echo "this node has no part in the job" >&2; false;;',
    'esac',
  ];
  return ['trap : TERM', 'mark="$0.on.$(hostname)"', ': > "$mark"', ...start, 'code=$?', 'rm -f "$mark"', 'exit "$code"'];
}

/**
 * Which host is of which part, from the file in which a host stands once per processor: a host is of the first part of its
 * number of processors that still needs one, whatever order the scheduler has chosen.
 */
function assignment(settings: PbsSettings, parts: readonly JobPart[]): string {
  const wanted = parts.map((p) => `${p.nodes}:${ppnOf(settings, p)}`).join(' ');
  const program = [
    '{ sub(/[.].*/, "") } !($1 in seen) { order[++hosts] = $1 } { seen[$1]++ }',
    'END { parts = split(wanted, want, " ")',
    '  for (h = 1; h <= hosts; h++) for (p = 1; p <= parts; p++) { split(want[p], x, ":")',
    '    if (seen[order[h]] == x[2] && used[p] < x[1]) { used[p]++; print order[h], p - 1; break } } }',
  ].join('\n');
  return `awk -v wanted=${quote(wanted)} '${program}' "$PBS_NODEFILE" > "$file.parts" || exit 1`;
}
