/** Images as callers name them: id or name, the caller's own first, then common. Another user's does not exist. */
import { Fault } from '../lease/faults.ts';
import { IMAGE_ID, isName } from '../lease/ids.ts';
import type { Queryable } from '../store/db.ts';
import { usableImageById, usableImageByName, type ImageRow } from '../store/images.ts';

/** @throws Fault ImageNotFound, ImageIdMalformed */
export async function findImage(q: Queryable, accountId: number, idOrName: string): Promise<ImageRow> {
  checkReference(idOrName);
  const by = IMAGE_ID.test(idOrName) ? usableImageById : usableImageByName;
  const [image] = await q.query(by, [accountId, idOrName]);
  if (image === undefined) throw imageNotFound([idOrName]);
  return image;
}

/** @throws Fault ImageIdMalformed: the text is neither an id nor a name that an image can have */
export function checkReference(idOrName: string): void {
  if (!IMAGE_ID.test(idOrName) && (!isName(idOrName) || looksLikeId(idOrName))) throw imageIdMalformed(idOrName);
}

/** Names of this form would be taken for ids, so no image has one. */
export const looksLikeId = (name: string): boolean => name.startsWith('ami-');

export function imageNotFound(ids: readonly string[]): Fault {
  return new Fault('ImageNotFound', ids.length === 1 ? `The image id '[${ids[0]}]' does not exist` : `The image ids '[${ids.join(', ')}]' do not exist`);
}

export function imageIdMalformed(id: string): Fault {
  return new Fault('ImageIdMalformed', `Invalid id: "${id.slice(0, 100)}"`);
}
