/** Mistakes of a configuration, told: each with its key and what is allowed, none hiding another. */
import { z } from 'zod';
import { isName } from '../lease/ids.ts';
import type { Readable } from './config-check.ts';
import { keyOf } from './config-types.ts';

type Raw = Readonly<Record<string, unknown>>;

/** What is wrong with one key keeps nobody from hearing of what is wrong with the others: each section without its wrong keys. */
export function readableSections(all: z.ZodObject, raw: Raw): Readable {
  return Object.fromEntries(Object.entries(all.shape).flatMap(([section, schema]) => {
    const first = (schema as z.ZodType).safeParse(raw[section]);
    if (first.success) return [[section, first.data]];
    const rest = structuredClone(raw[section]);
    for (const issue of first.error.issues) for (const path of issue.code === 'unrecognized_keys' ? issue.keys.map((k) => [...issue.path, k]) : [issue.path]) takeOut(rest, path);
    const second = (schema as z.ZodType).safeParse(rest);
    if (second.success) return [[section, second.data]];
    // A type without its memory is one all the same: who names it as the default makes no mistake, who names another does.
    return section === 'types' && isTable(rest) ? [[section, rest]] : [];
  })) as Readable;
}

const isTable = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

function takeOut(from: unknown, path: readonly PropertyKey[]): void {
  const holder = path.slice(0, -1).reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined), from);
  const last = path.at(-1);
  if (isTable(holder) && last !== undefined) Reflect.deleteProperty(holder, last);
}

/** Tables whose names the site gives. Held apart from the schema, which would look no further into one that is misnamed. */
const NAMED = ['types', 'usage_sinks'] as const;

export function misnamed(raw: Raw): string[] {
  return NAMED.flatMap((section) => {
    const table = raw[section];
    if (!isTable(table)) return [];
    return Object.keys(table).filter((key) => !isName(key)).map((key) => `${keyOf([section, key])}: the name must be 1 to 64 letters, digits, ".", "_" or "-"`);
  });
}

export function sentences(schema: z.ZodType, error: z.ZodError): string[] {
  return error.issues.map((issue) => sentence(schema, issue));
}

function sentence(schema: z.ZodType, issue: z.core.$ZodIssue): string {
  const key = keyOf(issue.path) || '(top level)';
  if (issue.code === 'invalid_type') return `${key}: must be ${KINDS[issue.expected] ?? issue.expected}${issue.message.endsWith('received undefined') ? ', and is missing' : ''}`;
  if (issue.code !== 'unrecognized_keys') return `${key}: ${issue.message.replace(/^(?:Invalid|Too) \w+: expected (?:\w+ to (?:be|have) )?/, 'must be ')}`;
  return `${key}: unknown key ${issue.keys.join(', ')}; allowed are ${allowedAt(schema, issue.path).join(', ')}`;
}

const KINDS: Readonly<Record<string, string>> = { string: 'text in quotes', number: 'a number', int: 'a whole number', boolean: 'true or false', array: 'a list', object: 'a table', record: 'a table' };

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
}

/** Keys of the table at `path`. */
function allowedAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: JsonSchema | undefined = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  for (const step of path) {
    at = typeof step === 'number' ? at?.items : at?.properties?.[String(step)] ?? (typeof at?.additionalProperties === 'object' ? at.additionalProperties : undefined);
  }
  return Object.keys(at?.properties ?? {});
}
