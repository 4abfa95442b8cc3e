/** Results of an action as the elements of one version, in its order: compiled once, like the answers of Query. */
import { escapeXml } from '../../soap/xml/escape.ts';
import { isoSeconds } from '../time.ts';
import type { Writer } from '../long-answers.ts';
import type { Field } from './shapes.ts';

type Values = Readonly<Record<string, unknown>>;
type Write = (values: Values) => string;

export function compileResponse(fields: readonly Field[]): Writer {
  return Object.assign(whole(fields), { pieces: pieces(fields) });
}

function whole(fields: readonly Field[]): Write {
  const writers = fields.map(writerOf);
  return (values) => {
    let xml = '';
    for (const write of writers) xml += write(values);
    return xml;
  };
}

/** Of lists, and of the lists in their items, each item is a piece. */
function pieces(fields: readonly Field[], listsWithin = true): (values: Values) => Iterable<string> {
  const writers = fields.map((field) => ({
    field, write: writerOf(field),
    items: field.shape.kind !== 'items' ? undefined : listsWithin ? pieces(field.shape.fields, false) : alone(whole(field.shape.fields)),
  }));
  return function* inPieces(values) {
    for (const { field: { name, from }, write, items } of writers) {
      const list = values[from ?? name];
      if (items === undefined || !Array.isArray(list) || list.length === 0) {
        yield write(values);
        continue;
      }
      yield `<${name}>`;
      for (const item of list as Values[]) {
        yield '<item>';
        yield* items(item);
        yield '</item>';
      }
      yield `</${name}>`;
    }
  };
}

const alone = (write: Write) => (values: Values): Iterable<string> => [write(values)];

function writerOf({ name, from, optional, shape }: Field): Write {
  if (shape.kind === 'choice') return chosen(shape.fields);
  const key = from ?? name;
  const open = `<${name}>`;
  const close = `</${name}>`;
  const empty = `<${name}/>`;
  const none = optional ? '' : shape.kind === 'leaf' && shape.absent !== undefined ? open + shape.absent + close : empty;
  const content = contentOf(shape);
  return (values) => {
    const value = values[key];
    if (value === undefined) return none;
    const text = content(value);
    return text === '' ? empty : open + text + close;
  };
}

/** The first of them that there is. */
function chosen(fields: readonly Field[]): Write {
  const writers = fields.map((f) => ({ key: f.from ?? f.name, write: writerOf(f) }));
  return (values) => writers.find(({ key }) => values[key] !== undefined)?.write(values) ?? '';
}

function contentOf(shape: Field['shape']): (value: unknown) => string {
  switch (shape.kind) {
    case 'leaf':
      return shape.type === 'dateTime' ? (value) => (typeof value === 'number' ? isoSeconds(value) : escapeXml(String(value)))
        : (value) => (typeof value === 'string' ? escapeXml(value) : String(value));
    case 'struct': {
      const write = whole(shape.fields);
      return (value) => write(value as Values);
    }
    case 'items': {
      const write = whole(shape.fields);
      return (value) => {
        let xml = '';
        for (const item of value as readonly Values[]) xml += `<item>${write(item)}</item>`;
        return xml;
      };
    }
    default:
      throw new Error(`${shape.kind} is of requests only`);
  }
}
