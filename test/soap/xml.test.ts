/** The reader: what it makes of XML, what it refuses, and that it stops reading where it refuses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createXmlReader, readXml, XML_LIMITS } from '../../src/soap/xml/read.ts';
import { attributeOf, childOf, elementsOf, makeElement, resolveQName, textOf, type XmlElement } from '../../src/soap/xml/tree.ts';
import { writeXml } from '../../src/soap/xml/write.ts';
import { xmlText } from './values.ts';

/** A tree as it must come back, whatever prefixes it was written with. */
interface Plain { readonly name: string; readonly attributes: Readonly<Record<string, string>>; readonly children: readonly (Plain | string)[] }
const plain = (e: XmlElement): Plain => ({
  name: e.name,
  attributes: Object.fromEntries(e.attributes.map((a) => [a.name, a.value])),
  children: e.children.map((c) => (typeof c === 'string' ? c : plain(c))),
});

const qname = fc.record({ ns: fc.constantFrom('', 'urn:a', 'urn:b', 'urn:a"&<'), local: fc.constantFrom('a', 'b', 'Ünïcode', '_x.y-1') });
const { tree } = fc.letrec<{ tree: XmlElement; child: XmlElement | string }>((tie) => ({
  child: fc.oneof({ depthSize: 'small', withCrossShrink: true }, xmlText, tie('tree')),
  tree: fc.tuple(qname, fc.dictionary(fc.constantFrom('p', '{urn:a}q', '{urn:c}q'), xmlText, { maxKeys: 3 }), fc.array(tie('child'), { maxLength: 4 }))
    .map(([name, attributes, children]) => makeElement(name, { attributes, children: joined(children) })),
}));

/** Text beside text is one text to a reader. */
function joined(children: readonly (XmlElement | string)[]): (XmlElement | string)[] {
  const all: (XmlElement | string)[] = [];
  for (const c of children) {
    const last = all.at(-1);
    if (typeof c === 'string' && typeof last === 'string') all[all.length - 1] = last + c;
    else all.push(c);
  }
  return all;
}

describe('trees', () => {
  it('come back as they were written, in pieces of any size', () => {
    fc.assert(fc.property(tree, fc.integer({ min: 1, max: 9 }), (made, size) => {
      const bytes = Buffer.from(writeXml(made));
      const reader = createXmlReader();
      for (let i = 0; i < bytes.length; i += size) reader.write(bytes.subarray(i, i + size));
      const read = reader.end();
      expect(plain(read)).toEqual(plain(made));
      expect(plain(readXml(writeXml(read)))).toEqual(plain(made));
    }), { numRuns: 500 });
  });

  it('a part keeps the prefixes that were in scope, for names in its text', () => {
    const root = readXml('<a xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q"><b xmlns:q="urn:inner">p:x<c y="q:z"/></b></a>');
    const part = readXml(writeXml(elementsOf(root)[0] as XmlElement));
    expect(resolveQName(part.scope, 'p:x')).toEqual({ ns: 'urn:p', local: 'x' });
    expect(resolveQName(part.scope, 'q:z')).toEqual({ ns: 'urn:inner', local: 'z' });
    expect(resolveQName(part.scope, 'plain')).toEqual({ ns: 'urn:d', local: 'plain' });
    expect(['n:x', ':x', 'a:b:c', '', 'a b'].map((t) => resolveQName(part.scope, t))).toEqual(Array(5).fill(undefined));
  });

  it('a comment does not divide a text, and CDATA is text', () => {
    const e = readXml('<a><b>root<!-- evil -->user</b><c><![CDATA[<&]]>&amp;&#x41;</c></a>');
    expect(elementsOf(e).map(textOf)).toEqual(['rootuser', '<&&A']);
    expect(elementsOf(e).map((c) => c.children.length)).toEqual([1, 1]);
  });

  it('names are expanded; attributes without a prefix have no namespace', () => {
    const e = readXml('<a xmlns="urn:d" xmlns:p="urn:p" x="1" p:x="2"><p:b xmlns=""/></a>');
    expect(e.name).toBe('{urn:d}a');
    expect([attributeOf(e, 'x'), attributeOf(e, '{urn:p}x')]).toEqual(['1', '2']);
    expect(childOf(e, '{urn:p}b')?.children).toEqual([]);
  });
});

describe('refused', () => {
  const bomb = `<!DOCTYPE a [<!ENTITY a0 "x">${Array.from({ length: 30 }, (_, i) => `<!ENTITY a${i + 1} "&a${i};&a${i};">`).join('')}]><a>&a30;</a>`;
  it.each([
    ['a document type', '<!DOCTYPE a><a/>', 'a document type is not allowed'],
    ['an external entity', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'a document type is not allowed'],
    ['a bomb of entities', bomb, 'a document type is not allowed'],
    ['an entity that XML does not have', '<a>&nbsp;</a>', 'undefined entity'],
    ['a processing instruction', '<a><?php x?></a>', 'processing instructions are not allowed'],
    ['a style sheet', '<?xml-stylesheet href="x"?><a/>', 'processing instructions are not allowed'],
    ['XML 1.1', '<?xml version="1.1"?><a/>', 'only XML 1.0'],
    ['another encoding', '<?xml version="1.0" encoding="UTF-16"?><a/>', 'only UTF-8'],
    ['a prefix that is not declared', '<p:a/>', 'unbound namespace prefix'],
    ['an attribute twice', '<a x="1" x="2"/>', 'duplicate attribute'],
    ['an attribute twice by its full name', '<a xmlns:p="u" xmlns:q="u" p:x="1" q:x="2"/>', 'duplicate attribute'],
    ['an open end', '<a><b></b>', 'unclosed tag'],
    ['two roots', '<a/><b/>', 'only one root'],
    ['text around the root', 'x<a/>', 'text data outside of root node'],
    ['nothing', '', 'root'],
    ['a character that XML cannot carry', '<a>\u0001</a>', 'disallowed character'],
    ['the same by number', '<a>&#0;</a>', 'malformed character entity'],
  ])('%s', (_, xml, message) => expect(() => readXml(xml)).toThrow(expect.objectContaining({ code: 'RequestMalformed', message: expect.stringContaining(message) })));

  it.each([
    ['half a character', Buffer.from([0x3c, 0x61, 0x3e, 0xc3])],
    ['an overlong form', Buffer.from([0x3c, 0x61, 0x3e, 0xc0, 0xbc])],
    ['UTF-16', Buffer.from('<a/>', 'utf16le')],
  ])('bytes that are not UTF-8: %s', (_, bytes) => expect(() => readXml(bytes)).toThrow(expect.objectContaining({ code: 'RequestMalformed' })));

  it('random changes to a message are read or refused, never anything else', () => {
    const message = '<e:E xmlns:e="urn:e" a="1"><e:B><x xmlns="urn:x" y=\'2\'>te&lt;xt<![CDATA[c]]></x><!-- c --></e:B></e:E>';
    fc.assert(fc.property(fc.nat(message.length), fc.nat(4), fc.string({ unit: fc.constantFrom(...'<>&;/!?-[]"\'= xe:', '\u0000', 'é'), maxLength: 5 }), (at, cut, put) => {
      try {
        readXml(message.slice(0, at) + put + message.slice(at + cut));
      } catch (e) {
        expect(e).toMatchObject({ name: 'Fault', code: 'RequestMalformed' });
      }
    }), { numRuns: 2000 });
  });
});

describe('limits', () => {
  /** How many bytes were taken before the reader refused. */
  function takenUntilRefused(pieces: Iterable<string>): { taken: number; error: unknown } {
    const reader = createXmlReader();
    let taken = 0;
    try {
      for (const piece of pieces) {
        taken += piece.length;
        reader.write(Buffer.from(piece));
      }
      reader.end();
    } catch (error) {
      return { taken, error };
    }
    throw new Error('nothing was refused');
  }
  function* repeat(piece: (i: number) => string, n: number, before = ''): Generator<string> {
    yield before;
    for (let i = 0; i < n; i++) yield piece(i);
  }

  it.each([
    ['100,000 elements in each other', repeat(() => '<a>', 100_000), 3 * (XML_LIMITS.depth + 1), `nested more than ${XML_LIMITS.depth} deep`],
    ['100,000 attributes', repeat((i) => ` a${i}="1"`, 100_000, '<a'), 10_000, `more than ${XML_LIMITS.attributes} attributes`],
    ['100,000 namespaces', repeat((i) => ` xmlns:a${i}="u"`, 100_000, '<a'), 10_000, `more than ${XML_LIMITS.attributes} attributes`],
    ['a million elements', repeat(() => '<b/>', 1_000_000, '<a>'), 4 * XML_LIMITS.nodes + 10, `more than ${XML_LIMITS.nodes} elements`],
    ['an endless text', repeat(() => 'x'.repeat(65_536), 1000, '<a>'), XML_LIMITS.bytes + 65_536, `exceeds ${XML_LIMITS.bytes} bytes`],
    ['an endless attribute', repeat(() => 'x'.repeat(65_536), 1000, '<a b="'), XML_LIMITS.bytes + 65_536, `exceeds ${XML_LIMITS.bytes} bytes`],
    ['an endless comment', repeat(() => '-x'.repeat(32_768), 1000, '<a><!-'), XML_LIMITS.bytes + 65_536, `exceeds ${XML_LIMITS.bytes} bytes`],
    ['an endless name', repeat(() => 'x'.repeat(65_536), 1000, '<'), XML_LIMITS.bytes + 65_536, `exceeds ${XML_LIMITS.bytes} bytes`],
  ])('%s: no more is read than the limit', (_, pieces, bytes, message) => {
    const { taken, error } = takenUntilRefused(pieces);
    expect(error).toMatchObject({ name: 'Fault', code: 'RequestTooLarge', message: expect.stringContaining(message) });
    expect(taken).toBeLessThanOrEqual(bytes);
  });

  it('what is just within them is read', () => {
    const deep = `${'<a>'.repeat(XML_LIMITS.depth)}${'</a>'.repeat(XML_LIMITS.depth)}`;
    expect(readXml(deep).name).toBe('a');
    const wide = `<a${Array.from({ length: XML_LIMITS.attributes }, (_, i) => ` a${i}="1"`).join('')}/>`;
    expect(readXml(wide).attributes).toHaveLength(XML_LIMITS.attributes);
  });
});
