/** What a tag may be (EC2 user guide, "Tag restrictions"). */
import { Fault } from '../lease/faults.ts';
import { isWritable } from '../lease/text.ts';

export const MOST_TAGS = 50;
const LONGEST_KEY = 128;
const LONGEST_VALUE = 256;
/** `nimbus:` tags are the service's own: the lease's end and the like. */
const RESERVED = ['aws:', 'nimbus:'];
/** One of the two that are kept as the user wrote it, so that tools which compare what they asked with what is find no drift. */
export const DURATION_TAG = 'nimbus:duration';

/** What becomes of the disk when the batch system takes the lease's node away: `save` makes it an image, `end` (the default) does not. */
export const ON_PREEMPT_TAG = 'nimbus:on-preempt';
const ON_PREEMPT = ['save', 'end'];

/**
 * `timed`: the call sets the lease's time too, so its tags may say so.
 * @throws Fault TagRefused, TagLimit
 */
export function checkTags(tags: Readonly<Record<string, string>>, timed = false): void {
  const entries = Object.entries(tags);
  if (entries.length > MOST_TAGS) throw tagLimit([`${entries.length} asked`]);
  for (const [key, value] of entries) {
    checkKey(key, timed);
    if (key === ON_PREEMPT_TAG && !ON_PREEMPT.includes(value)) throw refused(`The tag ${ON_PREEMPT_TAG} is ${ON_PREEMPT.join(' or ')}`, key, JSON.stringify(value.slice(0, 100)));
    const length = characters(value);
    if (length > LONGEST_VALUE) throw refused(`Tag value exceeds the maximum length of ${LONGEST_VALUE} characters`, key, `${length} characters`);
    if (!isWritable(value)) throw refused('Tag value holds characters that are not allowed', key, 'control characters');
  }
}

function checkKey(key: string, timed: boolean): void {
  if (key === ON_PREEMPT_TAG || (timed && key === DURATION_TAG)) return;
  const reserved = RESERVED.find((prefix) => key.toLowerCase().startsWith(prefix));
  if (reserved !== undefined) throw refused(`Tag keys starting with '${reserved}' are reserved for internal use`, key, 'reserved');
  const length = characters(key);
  if (length === 0) throw refused('Tag key cannot be empty', key, 'empty');
  if (length > LONGEST_KEY) throw refused(`Tag key exceeds the maximum length of ${LONGEST_KEY} characters`, key, `${length} characters`);
  if (!isWritable(key)) throw refused('Tag key holds characters that are not allowed', key, 'control characters');
}

export { isWritable };

export function tagLimit(reasons: readonly string[]): Fault {
  return new Fault('TagLimit', `A resource has at most ${MOST_TAGS} tags`, reasons);
}

/** Unicode characters, as EC2 counts. A text so long that it is refused in any case is not taken apart. */
const characters = (text: string): number => (text.length > 2 * LONGEST_VALUE ? text.length : [...text].length);

function refused(message: string, key: string, why: string): Fault {
  return new Fault('TagRefused', message, [`tag ${JSON.stringify(key.slice(0, LONGEST_KEY))}: ${why}`]);
}
