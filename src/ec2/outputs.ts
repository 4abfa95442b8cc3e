/**
 * Shapes of responses: ordered fields, compiled once into functions that write XML. Order and names are those of the EC2
 * API; a door of another version writes the same values with its own list of fields.
 */
import { escapeXml } from '../soap/xml/escape.ts';
import { isoSeconds } from './time.ts';

type Writer = (value: unknown) => string;

export interface Output<T> {
  readonly type: 'text' | 'integer' | 'boolean' | 'time' | 'list' | 'struct';
  /** A function that writes the whole element, tags included; `''` for undefined. */
  compile(name: string): Writer;
  readonly item?: Output<unknown>;
  readonly fields?: OutputFields;
  /** Type only. */
  readonly value?: T;
}
export type OutputFields = Readonly<Record<string, Output<unknown>>>;
export type OutputOf<O> = O extends Output<infer T> ? T : never;
type OptionalKeys<F extends OutputFields> = { [K in keyof F]: undefined extends OutputOf<F[K]> ? K : never }[keyof F];
/** What a handler returns: fields that may be absent may be left out. */
export type OutputsOf<F extends OutputFields> =
  & { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: OutputOf<F[K]> }
  & { readonly [K in OptionalKeys<F>]?: OutputOf<F[K]> };

function leaf<T>(type: Output<T>['type'], format: (value: T) => string): Output<T> {
  return {
    type,
    compile(name) {
      const open = `<${name}>`;
      const close = `</${name}>`;
      const empty = `<${name}/>`;
      return (value) => {
        if (value === undefined) return '';
        const text = format(value as T);
        return text === '' ? empty : open + text + close;
      };
    },
  };
}

export const text: Output<string> = leaf('text', escapeXml);
/** Ids and words of the service's own, which have nothing to escape. */
export const word: Output<string> = leaf('text', (value) => value);
export const integer: Output<number> = leaf('integer', String);
export const boolean: Output<boolean> = leaf('boolean', String);
/** ms since the epoch → `2026-11-22T14:41:03.000Z`. */
export const time: Output<number> = leaf('time', isoSeconds);

/** May be left out, and is then absent from the response. */
export const optional = <T>(output: Output<T>): Output<T | undefined> => output as Output<T | undefined>;

/** `<xSet><item>…</item></xSet>`; `<xSet/>` when empty. */
export function list<T>(item: Output<T>): Output<readonly T[]> {
  return {
    type: 'list',
    item,
    compile(name) {
      const write = item.compile('item');
      const open = `<${name}>`;
      const close = `</${name}>`;
      return (value) => {
        if (value === undefined) return '';
        const items = value as readonly T[];
        if (items.length === 0) return `<${name}/>`;
        let xml = open;
        for (const i of items) xml += write(i);
        return xml + close;
      };
    },
  };
}

export function struct<F extends OutputFields>(fields: F): Output<OutputsOf<F>> {
  return {
    type: 'struct',
    fields,
    compile(name) {
      const write = compileFields(fields);
      const open = `<${name}>`;
      const close = `</${name}>`;
      return (value) => (value === undefined ? '' : open + write(value) + close);
    },
  };
}

/** The fields without an element around them, as they stand in a response. */
export function compileFields(fields: OutputFields): Writer {
  const names = Object.keys(fields);
  const writers = Object.entries(fields).map(([name, output]) => output.compile(name));
  return (value) => {
    const values = value as Readonly<Record<string, unknown>>;
    let xml = '';
    for (let i = 0; i < names.length; i++) xml += (writers[i] as Writer)(values[names[i] as string]);
    return xml;
  };
}

/** The same in pieces: of lists, and of the lists in their items, each item is one. */
export function compilePieces(fields: OutputFields, listsWithin = true): (values: Readonly<Record<string, unknown>>) => Iterable<string> {
  const writers = Object.entries(fields).map(([name, output]) => ({ name, write: output.compile(name), items: output.item && itemPieces(output.item, listsWithin) }));
  return function* pieces(values) {
    for (const { name, write, items } of writers) {
      const value = values[name];
      if (items === undefined || !Array.isArray(value) || value.length === 0) {
        yield write(value);
        continue;
      }
      yield `<${name}>`;
      for (const item of value) yield* items(item);
      yield `</${name}>`;
    }
  };
}

function itemPieces(item: Output<unknown>, listsWithin: boolean): (value: unknown) => Iterable<string> {
  if (!listsWithin || item.fields === undefined) {
    const write = item.compile('item');
    return (value) => [write(value)];
  }
  const within = compilePieces(item.fields, false);
  return function* pieces(value) {
    yield '<item>';
    yield* within(value as Readonly<Record<string, unknown>>);
    yield '</item>';
  };
}
