/** Signature Version 4 signing keys: four HMACs each, so the ones in use are kept. */
import { createHmac } from 'node:crypto';

const MAX_KEYS = 1000;

export interface Scope {
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

export interface SigningKeys {
  /** `remember` is called once the key has proved right, so that strangers cannot fill the cache. */
  get(accessKey: string, secret: string, scope: Scope): { key: Buffer; remember(): void };
}

export function createSigningKeys(): SigningKeys {
  const cache = new Map<string, { secret: string; key: Buffer }>();
  return {
    get(accessKey, secret, scope) {
      const id = `${accessKey}/${scope.date}/${scope.region}/${scope.service}`;
      const known = cache.get(id);
      if (known !== undefined && known.secret === secret) return { key: known.key, remember: () => undefined };
      const key = deriveKey(secret, scope);
      return {
        key,
        remember() {
          if (cache.size >= MAX_KEYS) cache.delete(cache.keys().next().value as string);
          cache.set(id, { secret, key });
        },
      };
    },
  };
}

export function deriveKey(secret: string, scope: Scope): Buffer {
  const step = (key: Buffer | string, data: string): Buffer => createHmac('sha256', key).update(data).digest();
  return step(step(step(step(`AWS4${secret}`, scope.date), scope.region), scope.service), 'aws4_request');
}
