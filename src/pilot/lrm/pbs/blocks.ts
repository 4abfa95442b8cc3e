/**
 * The text of `qstat -f`, `-Q -f` and `-B -f` of Torque and OpenPBS: a heading, then a line `    NAME = VALUE` for each
 * attribute; long values go on in lines that begin with a tab. Pure.
 *
 * OpenPBS can print JSON too. It is not used: values of users' environments make it invalid (OpenPBS issue 1255), so that any
 * user could take the whole list away, and a version shows only the first job (issue 2672).
 *
 * Values of users' environments can hold newlines, and so lines that look like attributes or headings. What is no attribute
 * line is skipped; a block in which an attribute stands twice has foreign lines in it and says so.
 */

export interface Block {
  /** The job's id, the queue's or the server's name. */
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** The first attribute that stands in it twice. */
  readonly doubled: string | null;
}

/** No attribute that is read here is longer: the longest are lists of hosts. */
const LONGEST_VALUE = 1_000_000;
const MOST_ATTRIBUTES = 500;
const ATTRIBUTE = /^ {4}([A-Za-z_][A-Za-z0-9_.]{0,60}) = (.*)$/;

/** Never throws. */
export function parseBlocks(text: string, heading: 'Job Id' | 'Queue' | 'Server'): Block[] {
  const blocks: Block[] = [];
  let attributes: Map<string, string[]> | undefined;
  let last: string[] | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith(`${heading}: `)) {
      attributes = new Map();
      last = undefined;
      blocks.push(blockOf(line.slice(heading.length + 2).trim(), attributes));
      continue;
    }
    if (attributes === undefined) continue;
    const [, name, value = ''] = ATTRIBUTE.exec(line) ?? [];
    if (name !== undefined) last = addTo(attributes, name, value);
    else if (line.startsWith('\t') && last !== undefined) last.push(line.slice(1));
    else last = undefined;
  }
  return blocks;
}

/** Pieces of the new value, to which lines that go on are added; undefined when the block is full. */
function addTo(attributes: Map<string, string[]>, name: string, value: string): string[] | undefined {
  if (attributes.has(name)) {
    if (!attributes.has(DOUBLED)) attributes.set(DOUBLED, [name]);
    return undefined;
  }
  if (attributes.size >= MOST_ATTRIBUTES) return undefined;
  const pieces = [value];
  attributes.set(name, pieces);
  return pieces;
}

/** No attribute's name has a space. */
const DOUBLED = 'stands twice';

/** The values are put together when they are asked for: of foreign jobs, few are. */
function blockOf(name: string, pieces: ReadonlyMap<string, readonly string[]>): Block {
  return {
    name,
    get attributes() { return new Map([...pieces].map(([key, parts]) => [key, parts.join('').slice(0, LONGEST_VALUE)])); },
    get doubled() { return pieces.get(DOUBLED)?.[0] ?? null; },
  };
}
