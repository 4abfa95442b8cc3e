/** One codec for every type: what is encoded is valid, and is decoded to what it was; what is wrong is refused by name. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCollector } from '../../src/soap/schema/collect.ts';
import { sourceOf, typed, type Codec } from '../../src/soap/schema/codec.ts';
import { createCodec } from '../../src/soap/schema/create.ts';
import { resolveSchema } from '../../src/soap/schema/load.ts';
import type { Schema } from '../../src/soap/schema/model.ts';
import { readXml } from '../../src/soap/xml/read.ts';
import { resolveQName, textOf } from '../../src/soap/xml/tree.ts';
import { loadOurs } from './describe.ts';
import { comparable, valueOf } from './values.ts';

const { codec, schema } = loadOurs();
const WT = 'http://www.globus.org/2008/06/workspace/types';

function roundTrip(c: Codec, s: Schema, name: string, runs: number): void {
  const element = s.elements.get(name);
  if (element === undefined) throw new Error(`no element ${name}`);
  fc.assert(fc.property(valueOf(element.type, element.nillable), (value) => {
    const read = readXml(c.encode(name, value));
    expect(read.name).toBe(name);
    expect(comparable(c.decode(read))).toEqual(comparable(value));
    expect(comparable(c.decode(read, { strict: true }))).toEqual(comparable(value));
  }), { numRuns: runs });
}

describe('every element of the service descriptions', () => {
  it.each([...schema.elements.keys()].sort())('%s is decoded to what was encoded', (name) => roundTrip(codec, schema, name, 25));
});

/** What the services' own schema has not, but others have. */
const OTHER = `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:o="urn:o" targetNamespace="urn:o">
  <xs:element name="all"><xs:complexType><xs:all><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:int" minOccurs="0"/></xs:all></xs:complexType></xs:element>
  <xs:element name="binary"><xs:complexType><xs:sequence><xs:element name="b64" type="xs:base64Binary"/><xs:element name="hex" type="xs:hexBinary"/></xs:sequence></xs:complexType></xs:element>
  <xs:element name="list"><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType></xs:element>
  <xs:element name="names"><xs:simpleType><xs:list itemType="xs:QName"/></xs:simpleType></xs:element>
  <xs:element name="union"><xs:simpleType><xs:union memberTypes="xs:boolean"><xs:simpleType><xs:restriction base="xs:string"><xs:enumeration value="auto"/></xs:restriction></xs:simpleType></xs:union></xs:simpleType></xs:element>
  <xs:element name="many"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="ip" type="xs:string"/><xs:element name="host" type="xs:string"/></xs:choice></xs:complexType></xs:element>
  <xs:group name="g"><xs:sequence><xs:element name="x" type="xs:decimal"/><xs:element name="y" type="xs:long" minOccurs="0"/></xs:sequence></xs:group>
  <xs:attributeGroup name="ag"><xs:attribute name="lang" type="xs:language" use="required"/></xs:attributeGroup>
  <xs:complexType name="Base"><xs:sequence><xs:group ref="o:g"/></xs:sequence><xs:attributeGroup ref="o:ag"/></xs:complexType>
  <xs:complexType name="Derived"><xs:complexContent><xs:extension base="o:Base"><xs:sequence><xs:element name="z" type="o:short" maxOccurs="3"/></xs:sequence><xs:attribute name="when" type="xs:dateTime"/></xs:extension></xs:complexContent></xs:complexType>
  <xs:simpleType name="short"><xs:restriction base="xs:string"><xs:maxLength value="3"/><xs:pattern value="[a-c]*"/></xs:restriction></xs:simpleType>
  <xs:element name="base" type="o:Base"/><xs:element name="derived" type="o:Derived"/><xs:element name="anything"/>
  <xs:element name="local"><xs:complexType><xs:sequence><xs:element name="unqualified" type="xs:string"/><xs:element name="qualified" form="qualified" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
</xs:schema>`;

function other(): { codec: Codec; schema: Schema } {
  const collector = createCollector(() => { throw new Error('nothing is imported'); });
  collector.schema(readXml(OTHER), 'other.xsd');
  const made = resolveSchema(collector.components, new Map([['urn:o', 'o']]));
  return { codec: createCodec(made), schema: made };
}
const o = other();

describe('the rest of XML Schema that is read', () => {
  // `derived` has a pattern, which no value is made for.
  it.each([...o.schema.elements.keys()].filter((n) => n !== '{urn:o}derived').sort())('%s is decoded to what was encoded', (name) => roundTrip(o.codec, o.schema, name, 100));

  it('a derived type holds what its base holds, first; xsi:type chooses it', () => {
    const value = { '@lang': 'de', '@when': 0, x: 1.5, z: ['ab', ''] };
    const xml = o.codec.encode('{urn:o}derived', value);
    expect(xml).toBe('<o:derived xmlns:o="urn:o" lang="de" when="1970-01-01T00:00:00.000Z"><x>1.5</x><z>ab</z><z/></o:derived>');
    expect(o.codec.decode(readXml(xml), { strict: true })).toEqual(value);
    const asBase = xml.replaceAll('o:derived', 'o:base').replace(' lang', ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="o:Derived" lang');
    expect(o.codec.decode(readXml(asBase))).toEqual(value);
    expect(() => o.codec.decode(readXml(xml.replaceAll('ab', 'abab')), { strict: true })).toThrow('derived/z has a wrong value');
  });

  it('local elements have a namespace only where the schema says so', () => {
    expect(o.codec.encode('{urn:o}local', { unqualified: 'u', qualified: 'q' })).toBe('<o:local xmlns:o="urn:o"><unqualified>u</unqualified><o:qualified>q</o:qualified></o:local>');
  });

  it.each([
    ['a part that is not read', '<xs:element name="a" substitutionGroup="b"/>', 'not read here'],
    ['a type that is not there', '<xs:element name="a" type="xs:nothing"/>', 'no type {http://www.w3.org/2001/XMLSchema}nothing'],
    ['a prefix that is not declared', '<xs:element name="a" type="p:q"/>', 'the prefix of p:q is not declared'],
    ['an element without a name', '<xs:element/>', 'element has no name'],
  ])('a schema with %s is refused at start', (_, text, message) => {
    const collector = createCollector(() => { throw new Error('nothing is imported'); });
    const load = (): unknown => {
      collector.schema(readXml(`<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x">${text}</xs:schema>`), 'x.xsd');
      return resolveSchema(collector.components, new Map());
    };
    expect(load).toThrow(message);
  });
});

const state = (inner: string): string => `<w:currentState xmlns:w="${WT}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">${inner}</w:currentState>`;
const shutdown = (inner: string): string => `<s:shutdownWorkspace xmlns:s="http://www.globus.org/2008/06/workspace" xmlns:w="${WT}" xmlns:n="http://www.globus.org/2008/06/workspace/negotiable">${inner}</s:shutdownWorkspace>`;

describe('lenient as grid containers are', () => {
  it.each([
    ['another namespace', '<x:state xmlns:x="urn:x">Running</x:state>'],
    ['no namespace', '<state>Running</state>'],
    ['an xsi:type that says nothing new', '<w:state xmlns:xsd="http://www.w3.org/2001/XMLSchema" xsi:type="xsd:string">Running</w:state>'],
    ['an xsi:type that nobody declared', '<w:state xsi:type="p:q">Running</w:state>'],
    ['attributes that the type does not have', '<w:state a="b">Running</w:state>'],
    ['blanks around an enumeration', '<w:state>Running</w:state>\n'],
  ])('%s', (_, inner) => expect(codec.decode(readXml(state(inner)))).toEqual({ state: 'Running' }));

  it('order is free, and what is missing is not there', () => {
    expect(codec.decode(readXml(shutdown('<n:PostShutdown/><w:shutdownType>Normal</w:shutdownType>')))).toEqual({ shutdownType: 'Normal', PostShutdown: {} });
    expect(codec.decode(readXml(shutdown('')))).toEqual({});
    expect(() => codec.decode(readXml(shutdown('<n:PostShutdown/><w:shutdownType>Normal</w:shutdownType>')), { strict: true })).toThrow('shutdownWorkspace');
    expect(() => codec.decode(readXml(shutdown('')), { strict: true })).toThrow('lacks a child');
  });

  it('attributes are found qualified and not', () => {
    const topic = (attribute: string): string => `<n:Topic xmlns:n="http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd" ${attribute}>x</n:Topic>`;
    for (const attribute of ['Dialect="urn:d"', 'n:Dialect="urn:d"']) expect(codec.decode(readXml(topic(attribute)))).toMatchObject({ $: 'x', '@Dialect': 'urn:d' });
  });

  it('a range that is a restriction is left to the caller, one that is a type is not', () => {
    const nodes = (n: string): string => `<n:WorkspaceDeployment xmlns:n="http://www.globus.org/2008/06/workspace/negotiable"><n:NodeNumber>${n}</n:NodeNumber></n:WorkspaceDeployment>`;
    expect(codec.decode(readXml(nodes('0')))).toEqual({ NodeNumber: 0 });
    expect(() => codec.decode(readXml(nodes('40000')))).toThrow('WorkspaceDeployment/NodeNumber has a wrong value: 40000 is outside -32768 to 32767');
  });
});

describe('refused, with the place', () => {
  it.each([
    ['an unknown child', state('<w:state>Running</w:state><w:other/>'), 'currentState/other is not known here'],
    ['a second one', state('<w:state>Running</w:state><w:state>Paused</w:state>'), 'currentState/state may stand here once only'],
    ['a value outside the enumeration', state('<w:state>Flying</w:state>'), 'currentState/state has a wrong value: "Flying" is not one of Unstaged'],
    ['elements where text is', state('<w:state><w:state/></w:state>'), 'currentState/state must hold text only'],
    ['an unknown element', '<x/>', 'The element x is not known here'],
    ['a time that is none', '<l:CurrentTime xmlns:l="http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceLifetime-1.2-draft-01.xsd">2009-02-30T00:00:00Z</l:CurrentTime>', 'is no time of the calendar'],
    ['a name without its prefix', '<p:GetResourceProperty xmlns:p="http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd">q:x</p:GetResourceProperty>', 'is no name whose prefix is declared'],
  ])('%s', (_, xml, message) => expect(() => codec.decode(readXml(xml))).toThrow(expect.objectContaining({ code: 'RequestMalformed', message: expect.stringContaining(message) })));

  it.each([
    ['a missing member', {}, 'currentState/state: is missing'],
    ['a key that nothing has', { state: 'Running', stat: 1 }, 'currentState: stat is not known here'],
    ['a wrong value', { state: 'Flying' }, 'currentState/state: "Flying" is not one of'],
    ['no object', 'Running', 'currentState: an object is expected'],
    ['null where nil may not be', { state: null }, 'currentState/state: must not be null'],
  ])('when encoding: %s is a mistake of ours', (_, value, message) => {
    expect(() => codec.encode(`{${WT}}currentState`, value)).toThrow(new TypeError(`${message}`).message);
  });
});

describe('values', () => {
  it('an array may hold one, and a bare value stands for text with attributes', () => {
    const memory = { Exact: [256] };
    const xml = codec.encode('{http://schemas.ggf.org/jsdl/2005/11/jsdl}IndividualPhysicalMemory', memory);
    expect(xml).toContain('<jsdl:Exact>256.0</jsdl:Exact>');
    expect(codec.decode(readXml(xml))).toEqual({ Exact: [{ $: 256 }], Range: [] });
  });

  it('any takes elements of the schema, and topics keep their names', () => {
    const xml = codec.encode('{http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd}GetResourcePropertyResponse', {
      any: [
        typed(`{${WT}}currentState`, { state: 'Running' }),
        typed('{http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd}Topic', { $: { ns: WT, local: 'currentState' }, '@Dialect': 'urn:d' }),
      ],
    });
    const read = codec.decode(readXml(xml)) as { any: Parameters<typeof codec.decode>[0][] };
    const [first, second] = read.any.map((e) => codec.decode(e));
    expect(first).toEqual({ state: 'Running' });
    const topic = second as { $: string };
    const scope = sourceOf(topic)?.scope;
    expect(scope === undefined ? undefined : resolveQName(scope, topic.$)).toEqual({ ns: WT, local: 'currentState' });
    expect(read.any.map(textOf)[1]).toBe(topic.$);
  });

  it('an endpoint reference is read from an element of any name', () => {
    const type = '{http://schemas.xmlsoap.org/ws/2004/03/addressing}EndpointReferenceType';
    const value = { Address: { $: 'https://h/' }, ReferenceProperties: { any: [] }, any: [] };
    const xml = codec.encodeAs(type, '{urn:x}WORKSPACE_EPR', value);
    expect(codec.decodeAs(type, readXml(xml))).toEqual(value);
  });
});
