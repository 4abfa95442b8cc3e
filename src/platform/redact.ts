/** Makes log fields safe and small: secrets by the names of their keys, passwords in URLs, long values cut. */
import { isFault } from '../lease/faults.ts';

const SECRET = /secret|passw|authorization|signature|credential|private_?key|material|user_?data|cookie/i;
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi;
const LONGEST_TEXT = 2000;
const LONGEST_LIST = 50;
const DEEPEST = 5;

export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) return `(${value.length} bytes)`;
  if (value instanceof Error) return redactError(value);
  if (value instanceof Date) return value;
  if (depth >= DEEPEST) return '(more)';
  if (Array.isArray(value)) {
    const kept = value.slice(0, LONGEST_LIST).map((v) => redact(v, depth + 1));
    return value.length > LONGEST_LIST ? [...kept, `(${value.length - LONGEST_LIST} more)`] : kept;
  }
  return redactFields(value as Record<string, unknown>, depth);
}

export function redactFields(fields: Readonly<Record<string, unknown>>, depth = 0): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, v]) => [key, SECRET.test(key) && v !== null && v !== undefined ? '(hidden)' : redact(v, depth + 1)]));
}

export function redactText(text: string): string {
  const safe = text.replace(URL_PASSWORD, '$1:(hidden)@');
  return safe.length > LONGEST_TEXT ? `${safe.slice(0, LONGEST_TEXT)}… (${safe.length - LONGEST_TEXT} more)` : safe;
}

/** A refusal is explained by its code; anything else is a mistake of ours, and its stack is wanted. */
function redactError(e: Error): unknown {
  if (isFault(e)) return { code: e.code, message: redactText(e.message), reasons: redact(e.reasons, DEEPEST - 1) };
  const code = (e as { code?: unknown }).code;
  return { message: redactText(e.message), ...(code === undefined ? {} : { code: redact(code) }), stack: redactText(e.stack ?? '') };
}
