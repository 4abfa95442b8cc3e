/** Checks for what comes from outside. Each takes a value and where it stood, and returns it typed or throws `BadRequest`. */
import { AgentFault } from './fault.ts';

export type Check<T> = (value: unknown, at: string) => T;

export function bad(at: string, rule: string): never {
  throw new AgentFault('BadRequest', `${at} ${rule}`);
}

/** Printable text: no control characters, so it can stand in a log line, a table and an argument vector. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

export function text(max: number, pattern?: RegExp): Check<string> {
  return (value, at) => {
    if (typeof value !== 'string') return bad(at, 'must be text');
    if (value.length > max) return bad(at, `must have at most ${max} characters`);
    if (CONTROL.test(value)) return bad(at, 'must not contain control characters');
    if (pattern !== undefined && !pattern.test(value)) return bad(at, `must match ${pattern.source}`);
    return value;
  };
}

/** Canonical base64 of at most `maxBytes` bytes. */
export function base64(maxBytes: number): Check<string> {
  return (value, at) => {
    if (typeof value !== 'string' || value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return bad(at, 'must be base64');
    if ((value.length / 4) * 3 - 2 > maxBytes) return bad(at, `must have at most ${maxBytes} bytes`);
    return value;
  };
}

export function integer(min: number, max: number): Check<number> {
  return (value, at) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? value
      : bad(at, `must be a whole number from ${min} to ${max}`);
}

export function fraction(value: unknown, at: string): number {
  return typeof value === 'number' && value >= 0 && value <= 1 ? value : bad(at, 'must be a number from 0 to 1');
}

export function flag(value: unknown, at: string): boolean {
  return typeof value === 'boolean' ? value : bad(at, 'must be true or false');
}

export function oneOf<T extends string>(...allowed: readonly T[]): Check<T> {
  return (value, at) => (allowed as readonly unknown[]).includes(value) ? (value as T) : bad(at, `must be one of ${allowed.join(', ')}`);
}

export function list<T>(item: Check<T>, max: number): Check<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) return bad(at, 'must be a list');
    if (value.length > max) return bad(at, `must have at most ${max} entries`);
    return value.map((v, i) => item(v, `${at}[${i}]`));
  };
}

export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, at) => (value === null ? null : check(value, at));
}

/** The field may be absent; then the object has no such key. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value, at) => (value === undefined ? undefined : check(value, at));
}

type Shape<T> = { readonly [K in keyof T]-?: object extends Pick<T, K> ? Check<T[K] | undefined> : Check<T[K]> };

/** Copies the known fields only: what a later version adds is ignored. */
export function record<T extends object>(shape: Shape<T>): Check<T> {
  const fields = Object.entries(shape) as [string, Check<unknown>][];
  return (value, at) => {
    const source = fieldsOf(value, at);
    const out: Record<string, unknown> = {};
    for (const [key, check] of fields) {
      const checked = check(Object.hasOwn(source, key) ? source[key] : undefined, at === '' ? key : `${at}.${key}`);
      if (checked !== undefined) out[key] = checked;
    }
    return out as T;
  };
}

export function fieldsOf(value: unknown, at: string): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : bad(at === '' ? 'line' : at, 'must be an object');
}
