/** Statements on tags. A tag belongs to the account that owns its resource. */
import { statement } from './db.ts';

/** $1 account: takes turns with other requests that change the account's tags and key pairs, so that limits hold */
export const lockBelongings = statement<never>('lock-belongings', "SELECT pg_advisory_xact_lock(hashtextextended('belongings', $1::bigint))");

/**
 * $1 ids, $2 account (null = any, for administrators), $3 who owns the tags of common images.
 * Which of them exist, with the account that owns their tags.
 */
export const taggableResources = statement<{ id: string; account_id: number }>('taggable-resources', `
  SELECT id, account_id FROM lease WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT 'vol-' || substr(id, 3), account_id FROM lease
   WHERE id = ANY(ARRAY(SELECT 'i-' || substr(x, 5) FROM unnest($1::text[]) x WHERE x LIKE 'vol-%')) AND NOT final AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT id, account_id FROM lease_group WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT id, account_id FROM key_pair WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT id, account_id FROM security_group WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT id, account_id FROM spot_request WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT r.id, g.account_id FROM security_rule r JOIN security_group g ON g.id = r.group_id WHERE r.id = ANY($1::text[]) AND ($2::bigint IS NULL OR g.account_id = $2)
   UNION ALL
  SELECT id, coalesce(account_id, $3::bigint) FROM image
   WHERE id = ANY($1::text[]) AND removed_at IS NULL AND ($2::bigint IS NULL OR account_id = $2)
   UNION ALL
  SELECT id, account_id FROM image_order WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2)`);

/** $1 resource ids, $2 accounts in parallel arrays; $3 keys, $4 values in parallel arrays: every tag on every resource */
export const setTags = statement<never>('set-tags', `
  INSERT INTO tag (resource_id, account_id, key, value)
  SELECT r.id, r.account_id, t.key, t.value
    FROM unnest($1::text[], $2::bigint[]) AS r(id, account_id), unnest($3::text[], $4::text[]) AS t(key, value)
  ON CONFLICT (resource_id, key) DO UPDATE SET value = excluded.value`);

/** $1 resource ids, $2 key, $3 value: those that have it so */
export const resourcesTagged = statement<{ resource_id: string }>('resources-tagged', `
  SELECT resource_id FROM tag WHERE resource_id = ANY($1::text[]) AND key = $2 AND value = $3`);

/** $1 resource ids, $2 most */
export const resourcesOverTagLimit = statement<{ resource_id: string; tags: number }>('resources-over-tag-limit', `
  SELECT resource_id, count(*) AS tags FROM tag WHERE resource_id = ANY($1::text[]) GROUP BY resource_id HAVING count(*) > $2`);

/** $1 resource ids, $2 keys, $3 values (null = whatever it is) in parallel arrays */
export const removeTags = statement<never>('remove-tags', `
  DELETE FROM tag t USING unnest($2::text[], $3::text[]) AS x(key, value)
   WHERE t.resource_id = ANY($1::text[]) AND t.key = x.key AND (x.value IS NULL OR x.value = t.value)`);

/** $1 resource ids */
export const removeAllTags = statement<never>('remove-all-tags', 'DELETE FROM tag WHERE resource_id = ANY($1::text[])');

export interface TagRow {
  resource_id: string;
  key: string;
  value: string;
}
/** $1 account (null = any), $2 resource ids (null = all), $3 leases that ended before are gone (their volumes at once), $4 limit */
export const tagsOf = statement<TagRow>('tags-of', `
  SELECT t.resource_id, t.key, t.value FROM tag t
   WHERE ($1::bigint IS NULL OR t.account_id = $1) AND ($2::text[] IS NULL OR t.resource_id = ANY($2))
     AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.id = t.resource_id AND l.final AND l.ended_at < $3)
     AND NOT (t.resource_id LIKE 'vol-%' AND EXISTS (SELECT 1 FROM lease l WHERE l.id = 'i-' || substr(t.resource_id, 5) AND l.final))
   ORDER BY t.resource_id, t.key LIMIT $4`);
