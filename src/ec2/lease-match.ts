/**
 * What of a request's filters the database can answer, so that a rare instance among many is found without reading all.
 * It narrows only: what comes back goes through every filter again, and filters that are not here are left to that.
 */
import { EC2_STATE_CODE, ec2State, LEASE_STATES } from '../lease/states.ts';
import type { Ec2State, LeaseState } from '../lease/states.ts';
import type { LeaseMatch, SearchedColumn, TextMatch } from '../manager/types.ts';
import { matches } from './filters.ts';
import type { Filters } from './filters.ts';
import { ENDS_TAG, SSH_TAG } from './tags.ts';
import { leaseOfVolume } from './volume.ts';

/** Filter → the column that it shows as it stands. */
const COLUMNS: Readonly<Record<string, SearchedColumn>> = {
  'availability-zone': 'zone', 'image-id': 'image_id', 'instance-id': 'id', 'instance-type': 'type', 'key-name': 'key_name', 'reservation-id': 'group_id',
};

/** A volume's id has the digits of its lease's. */
const DISK = 'block-device-mapping.volume-id';

export interface Narrowing {
  /** undefined: the database cannot narrow it. */
  readonly match: LeaseMatch | undefined;
  /** Every filter is in `match`, so that nearly all that comes back is kept. */
  readonly whole: boolean;
}

export function leaseMatch(filters: Filters): Narrowing {
  const columns: Array<LeaseMatch['columns'][number]> = [];
  const tags: Array<LeaseMatch['tags'][number]> = [];
  let states: LeaseMatch['states'];
  let whole = true;
  for (const { Name: name, Value: values } of filters) {
    const column = Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined;
    const stateShown = Object.hasOwn(STATE, name) ? STATE[name] : undefined;
    if (name === DISK && values.every((v) => v.startsWith('vol-'))) columns.push({ column: 'id', match: textMatch(values.map(leaseOfVolume)) });
    else if (column !== undefined) columns.push({ column, match: textMatch(values) });
    else if (stateShown !== undefined) states = (states ?? LEASE_STATES).filter((s) => values.some((v) => shownAs(s).some((shown) => matches(v, stateShown(shown)))));
    else if (name.startsWith('tag:') && !ADDED_TAGS.has(name.slice(4))) tags.push({ key: name.slice(4), match: textMatch(values) });
    else whole = false;
  }
  return { match: columns.length + tags.length === 0 && states === undefined ? undefined : { columns, tags, states }, whole };
}

/** All that it may be shown as, whatever else is true of the lease. */
const shownAs = (state: LeaseState): Ec2State[] => [ec2State(state, false), ec2State(state, true), ec2State(state, true, true)];

const STATE: Readonly<Record<string, (state: Ec2State) => string>> = {
  'instance-state-name': (state) => state,
  'instance-state-code': (state) => String(EC2_STATE_CODE[state]),
};

/** Tags that no row holds. */
const ADDED_TAGS: ReadonlySet<string> = new Set([ENDS_TAG, SSH_TAG]);

const WILD = /[*?\\]/;
const textMatch = (patterns: readonly string[]): TextMatch => ({
  equal: patterns.filter((p) => !WILD.test(p)),
  like: patterns.filter((p) => WILD.test(p)).map(likePattern),
});

/** EC2's `*` and `?` as LIKE's `%` and `_`; both take a character literally after `\`. */
export function likePattern(pattern: string): string {
  let like = '';
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i] as string;
    const next = pattern[i + 1];
    if (c === '*') like += '%';
    else if (c === '?') like += '_';
    else if (c === '%' || c === '_') like += `\\${c}`;
    else if (c !== '\\') like += c;
    // A backslash that ends the pattern stands for itself.
    else if (next === undefined) like += '\\\\';
    else { like += `\\${next}`; i++; }
  }
  return like;
}
