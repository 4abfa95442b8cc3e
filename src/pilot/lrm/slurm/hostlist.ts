/** Slurm's lists of hosts: `n[1-3,07],login` and the like (scontrol(1), "show hostnames"). Pure. */

/** More than any Slurm has; a list that says more is no list. */
export const MOST_HOSTS = 100_000;
const LONGEST_LIST = 1_000_000;
const RANGE = /^(\d{1,12})(?:-(\d{1,12}))?$/;
const PLAIN = /^[A-Za-z0-9._-]*$/;

/** Every host once, in the list's order; undefined when it is no such list, or says more than MOST_HOSTS. */
export function expandHosts(list: string): string[] | undefined {
  if (list.length > LONGEST_LIST) return undefined;
  const hosts = new Set<string>();
  for (const item of itemsOf(list)) {
    const names = expandItem(item, MOST_HOSTS - hosts.size);
    if (names === undefined) return undefined;
    for (const name of names) hosts.add(name);
  }
  return [...hosts];
}

/** Commas within brackets part ranges, the others items. */
function itemsOf(list: string): string[] {
  return list === '' ? [] : list.split(/,(?![^[\]]*\])/);
}

/** Several brackets in a name are several dimensions, the last counting fastest. */
function expandItem(item: string, most: number): string[] | undefined {
  const pieces = item.split(/[[\]]/);
  if (item === '' || pieces.length % 2 === 0 || bracketsOf(item) !== '[]'.repeat((pieces.length - 1) / 2)) return undefined;
  let names = [''];
  for (const [i, piece] of pieces.entries()) {
    const choices = i % 2 === 0 ? plain(piece) : numbers(piece, most);
    if (choices === undefined || names.length * choices.length > most) return undefined;
    names = names.flatMap((name) => choices.map((choice) => `${name}${choice}`));
  }
  return names;
}

const bracketsOf = (item: string): string => item.replace(/[^[\]]/g, '');
const plain = (piece: string): string[] | undefined => (PLAIN.test(piece) ? [piece] : undefined);

/** `1-3,07`: the first number's width is every number's. */
function numbers(ranges: string, most: number): string[] | undefined {
  const all: string[] = [];
  for (const range of ranges.split(',')) {
    const [, first, last = first] = RANGE.exec(range) ?? [];
    if (first === undefined || last === undefined) return undefined;
    const count = Number(last) - Number(first) + 1;
    if (count < 1 || all.length + count > most) return undefined;
    for (let n = Number(first); n <= Number(last); n += 1) all.push(String(n).padStart(first.length, '0'));
  }
  return all;
}
