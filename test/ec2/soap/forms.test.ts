/** The SOAP forms against the table of operations: whatever a version can say, the table can read, and what it must answer, the table has. */
import { describe, expect, it } from 'vitest';
import type { Input } from '../../../src/ec2/inputs.ts';
import { OPERATIONS } from '../../../src/ec2/operations/index.ts';
import type { Output } from '../../../src/ec2/outputs.ts';
import { SOAP_FORMS } from '../../../src/ec2/soap/forms/index.ts';
import { WITHOUT_FORM } from '../../../src/ec2/soap/forms/others.ts';
import type { Field } from '../../../src/ec2/soap/shapes.ts';
import { SOAP_TABLES } from '../../../src/ec2/soap/versions.ts';

const CASES = [...SOAP_TABLES.values()].flatMap((t) => [...t.actions].map(([name, action]) => [`${name} of ${t.version}`, action] as const));

describe('the SOAP forms', () => {
  it.each(CASES)('%s asks for nothing that the table does not know', (_name, { operation, request }) => {
    expect(unread(request, operation.input, operation.ignored, '')).toEqual([]);
  });

  it.each(CASES)('%s answers what the table has', (_name, { operation, response }) => {
    expect(unanswered(response, operation.output, '')).toEqual([]);
  });

  it('names no action as absent that the table has', () => {
    const absent = Object.values(WITHOUT_FORM).flat();
    expect(absent.filter((name) => OPERATIONS.has(name))).toEqual([]);
    expect(absent.filter((name) => Object.hasOwn(SOAP_FORMS, name))).toEqual([]);
    for (const table of SOAP_TABLES.values()) expect([...table.actions.keys()].filter((name) => table.absent.has(name))).toEqual([]);
  });

  it('are those of the versions: 34, 68, 87 and 91 actions', () => {
    expect([...SOAP_TABLES.values()].map((t) => t.actions.size + t.absent.size)).toEqual([34, 68, 87, 91]);
  });
});

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** Parameters that the table would refuse as unknown. */
function unread(fields: readonly Field[], input: Readonly<Record<string, Input<unknown>>> | undefined, ignored: readonly string[], at: string): string[] {
  return fields.flatMap((f): string[] => {
    const { shape } = f;
    if (shape.kind === 'choice') return shape.names === undefined ? unread(shape.fields, input, ignored, at) : unread([{ ...f, from: shape.names, shape: { kind: 'leaf', type: 'string' } }], input, ignored, at);
    const name = f.from ?? capital(shape.kind === 'ids' ? shape.leaf : f.name);
    if (ignored.includes(name)) return [];
    const found = input?.[name];
    if (found === undefined) return [at + name];
    // Refused whatever is in it.
    if (found.type === 'struct' && found.fields === undefined) return [];
    if (shape.kind === 'struct') return unread(shape.fields, found.fields, found.ignored ?? [], `${at}${name}.`);
    if (shape.kind === 'items') return found.item?.fields === undefined ? [at + name] : unread(shape.fields, found.item.fields, found.item.ignored ?? [], `${at}${name}.N.`);
    return [];
  });
}

const FITTING: Readonly<Record<string, readonly string[]>> = {
  string: ['text', 'integer'], int: ['integer'], integer: ['integer'], boolean: ['boolean'], dateTime: ['time', 'text'],
};

/** Elements that must be there and would not, or that would hold something else. */
function unanswered(fields: readonly Field[], output: Readonly<Record<string, Output<unknown>>> | undefined, at: string): string[] {
  return fields.flatMap((f): string[] => {
    const { shape } = f;
    if (shape.kind === 'choice') return shape.fields.some((o) => output?.[o.from ?? o.name] !== undefined) || at.includes('[]') ? [] : [`${at}${f.name}`];
    const name = f.from ?? f.name;
    const found = output?.[name];
    if (found === undefined) return f.optional ? [] : [at + name];
    if (shape.kind === 'leaf') return FITTING[shape.type]?.includes(found.type) === true ? [] : [`${at}${name} is ${found.type}`];
    if (shape.kind === 'struct') return unanswered(shape.fields, found.fields, `${at}${name}.`);
    // A list that is always empty here says nothing of its items.
    const inItem = found.item?.fields;
    return shape.kind === 'items' && found.type === 'list' ? (inItem === undefined || Object.keys(inItem).length === 0 ? [] : unanswered(shape.fields, inItem, `${at}${name}.`)) : [`${at}${name}`];
  });
}

