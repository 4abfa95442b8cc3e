/** Images as their users see them: their own and the common ones. */
import { checkReference, imageNotFound } from '../images/lookup.ts';
import type { Db } from '../store/db.ts';
import { usableImages, type ImageRow } from '../store/images.ts';
import type { ImageView, Manager } from './types.ts';

export function imageCases({ db }: { readonly db: Db }): Manager['images'] {
  return {
    async list(caller, query = {}) {
      query.ids?.forEach(checkReference);
      const images = (await db.query(usableImages, [caller.accountId])).map(imageView);
      if (query.ids !== undefined) {
        const missing = query.ids.filter((id) => !images.some((i) => i.id === id || i.name === id));
        if (missing.length > 0) throw imageNotFound(missing);
      }
      return images.filter((i) => matches(query.ids, [i.id, i.name]) && matches(query.names, [i.name]));
    },
  };
}

const matches = (wanted: readonly string[] | undefined, has: readonly string[]): boolean =>
  wanted === undefined || has.some((h) => wanted.includes(h));

export function imageView(row: ImageRow): ImageView {
  return {
    id: row.id, name: row.name, owner: row.owner, ownerId: row.owner_id, format: row.format, sizeBytes: row.size_bytes,
    sha256: row.sha256, description: row.description, createdAt: row.created_at,
  };
}
