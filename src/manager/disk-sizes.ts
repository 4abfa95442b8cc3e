/** How large the disks of leases are: as their images say, or as their types when that is more. */
import { reasonText } from '../platform/errors.ts';
import { imagesByIds, type ImageRow } from '../store/images.ts';
import type { ManagerDeps } from './deps.ts';
import type { Manager } from './types.ts';

const MIB = 2 ** 20;
/** Images whose size is remembered; what an image holds never changes. */
const MOST_REMEMBERED = 10_000;

export function diskSizes({ ctx, db, repository }: ManagerDeps): Manager['leases']['diskBytes'] {
  const remembered = new Map<string, number>();

  async function ofImage(image: ImageRow): Promise<number> {
    if (repository === undefined) return image.size_bytes;
    try {
      const bytes = await repository.diskBytes(image);
      if (remembered.size >= MOST_REMEMBERED) remembered.clear();
      remembered.set(image.id, bytes);
      return bytes;
    } catch (e) {
      // What is shown of a lease must not hang on a file that it may need no more.
      ctx.log.warn('it is not known how large the disk of an image is; the size of its file is shown', { image: image.id, error: reasonText(e) });
      return image.size_bytes;
    }
  }

  return async (_caller, leases) => {
    const sizes = new Map<string, number>();
    const unknown = new Set<string>();
    for (const { imageId } of leases) {
      const bytes = remembered.get(imageId);
      if (bytes === undefined) unknown.add(imageId);
      else sizes.set(imageId, bytes);
    }
    for (const image of unknown.size === 0 ? [] : await db.query(imagesByIds, [[...unknown]])) sizes.set(image.id, await ofImage(image));
    return leases.map((l) => Math.max(sizes.get(l.imageId) ?? 0, l.diskMb * MIB));
  };
}
