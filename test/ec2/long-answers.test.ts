import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { written } from '../../src/ec2/long-answers.ts';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import type { Output } from '../../src/ec2/outputs.ts';
import type { Field } from '../../src/ec2/soap/shapes.ts';
import { SOAP_TABLES } from '../../src/ec2/soap/versions.ts';

type Values = Record<string, unknown>;
const leaves = { text: fc.string(), integer: fc.nat(), boolean: fc.boolean(), time: fc.nat() };

/** What may stand in a field, `undefined` where it is left out. */
function anyValue({ type, item, fields }: Output<unknown>): fc.Arbitrary<unknown> {
  if (item !== undefined) return fc.array(anyValue(item), { maxLength: 3 });
  if (fields !== undefined) return anyValues(fields);
  return leaves[type as keyof typeof leaves];
}
const anyValues = (fields: Readonly<Record<string, Output<unknown>>>): fc.Arbitrary<Values> =>
  fc.record(Object.fromEntries(Object.entries(fields).map(([name, output]) => [name, fc.option(anyValue(output), { nil: undefined, freq: 8 })])));

function anyElement({ shape }: Field): fc.Arbitrary<unknown> {
  if (shape.kind === 'items') return fc.array(anyElements(shape.fields), { maxLength: 3 });
  if (shape.kind === 'struct') return anyElements(shape.fields);
  return fc.oneof(fc.string(), fc.nat(), fc.boolean());
}
const anyElements = (fields: readonly Field[]): fc.Arbitrary<Values> => {
  const named = fields.flatMap((f) => (f.shape.kind === 'choice' ? f.shape.fields : [f]));
  return fc.record(Object.fromEntries(named.map((f) => [f.from ?? f.name, fc.option(anyElement(f), { nil: undefined, freq: 8 })])));
};

describe('an answer in pieces', () => {
  it('is what it is whole, of every action in Query', () => {
    for (const { name, output, write } of OPERATIONS.values()) {
      fc.assert(fc.property(anyValues(output), (values) => { expect([...write.pieces(values)].join(''), name).toBe(write(values)); }), { numRuns: 20 });
    }
  });

  it('is what it is whole, of every action in every SOAP version', () => {
    for (const { version, actions } of SOAP_TABLES.values()) for (const [name, { response, write }] of actions) {
      fc.assert(fc.property(anyElements(response), (values) => { expect([...write.pieces(values)].join(''), `${name} of ${version}`).toBe(write(values)); }), { numRuns: 20 });
    }
  });

  it('lets others be served while it is written, and is the same octets', async () => {
    const write = OPERATIONS.get('DescribeKeyPairs')?.write;
    if (write === undefined) throw new Error('no such action');
    const values = (count: number): Values => ({ keySet: Array.from({ length: count }, (_, i) => ({ keyPairId: `key-${i}`, keyFingerprint: 'é', keyName: `n${i}`, keyType: 'rsa', tagSet: [{ key: 'k', value: 'v'.repeat(1000) }] })) });
    let served = 0;
    let over = false;
    const others = (): void => { if (!over) { served++; setImmediate(others); } };
    setImmediate(others);
    const long = await written(write, values(1000), ['<a>', '</a>']);
    over = true;
    expect(served).toBeGreaterThan(10);
    expect(String(long)).toBe(`<a>${write(values(1000))}</a>`);
    expect(await written(write, values(3), ['<a>', '</a>'])).toBe(`<a>${write(values(3))}</a>`);
  });
});
