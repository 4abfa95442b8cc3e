import { spawnSync } from 'node:child_process';
import { parseXML } from '@aws-sdk/xml-builder';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boolean, compileFields, integer, list, optional, struct, text, time } from '../../src/ec2/outputs.ts';
import { errorDocument, responseFrame } from '../../src/ec2/xml.ts';
import { escapeXml } from '../../src/soap/xml/escape.ts';
import { findProgram } from '../parts.ts';

const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.string({ unit: fc.constantFrom('&', '<', '>', ']', '"', "'", '\r', '\n', '\ud800', '\udc00', '\ufffe', '\u0001') }));
/** What XML 1.0 can carry of a text. */
const carried = (s: string): string => Buffer.from(s.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')).toString();

describe('XML', () => {
  it('carries any text to a parser unchanged', () => {
    fc.assert(fc.property(anyText, (s) => {
      fc.pre(s.trim() === s && s !== '');
      const parsed = parseXML(`<a>${escapeXml(s)}</a>`) as { a: string };
      expect(parsed.a).toBe(carried(s));
    }), { numRuns: 1000 });
  });

  it.skipIf(findProgram('python3') === undefined)('is well-formed for expat, whatever the texts', () => {
    const documents = fc.sample(anyText, 500).map((s) => errorDocument(s, s, 'id'));
    const python = 'import json,sys\nfrom xml.etree import ElementTree as E\nprint(json.dumps([[e.text or "" for e in E.fromstring(d.encode()).find("Errors/Error")] for d in json.load(sys.stdin)]))';
    const run = spawnSync(findProgram('python3') as string, ['-c', python], { input: JSON.stringify(documents), encoding: 'utf8' });
    expect(run.stderr).toBe('');
    const got = JSON.parse(run.stdout) as string[][];
    expect(got.every((e) => e.length === 2 && e[0] === e[1])).toBe(true);
  });

  it('has the shape that clients expect', () => {
    const write = compileFields({ return: boolean, n: integer, at: time, none: optional(text), empty: text, set: list(struct({ k: text })), nothing: list(text) });
    const content = write({ return: true, n: 7, at: Date.UTC(2026, 0, 2, 3, 4, 5, 678), empty: '', set: [{ k: 'a&b' }, { k: '' }], nothing: [] });
    expect(responseFrame('DoIt', '2010-08-31', 'rid').join(content)).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<DoItResponse xmlns="http://ec2.amazonaws.com/doc/2010-08-31/"><requestId>rid</requestId>'
      + '<return>true</return><n>7</n><at>2026-01-02T03:04:05.000Z</at><empty/><set><item><k>a&amp;b</k></item><item><k/></item></set><nothing/></DoItResponse>');
  });
});
