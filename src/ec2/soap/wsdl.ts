/** The WSDL of one version, written from the table: what tools that read it make is what is served. */
import { escapeAttribute } from '../../soap/xml/escape.ts';
import type { Field, FieldShape } from './shapes.ts';
import type { SoapVersionTable } from './versions.ts';

const REQUEST_ID: Field = { name: 'requestId', optional: false, from: undefined, shape: { kind: 'leaf', type: 'string' } };

/** @param address where requests are sent to */
export function wsdlText({ namespace, actions, requestId }: SoapVersionTable, address: string): string {
  const names = [...actions.keys()].sort();
  const types = names.flatMap((name) => {
    const { request, response } = actions.get(name) as { request: readonly Field[]; response: readonly Field[] };
    return [...element(name, `${name}Type`, request), ...element(`${name}Response`, `${name}ResponseType`, requestId ? [REQUEST_ID, ...response] : response)];
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="${namespace}" targetNamespace="${namespace}">`,
    '  <types>', `    <xs:schema targetNamespace="${namespace}" elementFormDefault="qualified">`, ...indented(types, 6), '    </xs:schema>', '  </types>',
    ...indented(names.flatMap((name) => [...message(`${name}RequestMsg`, name), ...message(`${name}ResponseMsg`, `${name}Response`)]), 2),
    '  <portType name="AmazonEC2PortType">', ...indented(names.flatMap(portOperation), 4), '  </portType>',
    '  <binding name="AmazonEC2Binding" type="tns:AmazonEC2PortType">',
    '    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>', ...indented(names.flatMap(boundOperation), 4), '  </binding>',
    '  <service name="AmazonEC2">', '    <port name="AmazonEC2Port" binding="tns:AmazonEC2Binding">', `      <soap:address location="${escapeAttribute(address)}"/>`, '    </port>', '  </service>',
    '</definitions>', '',
  ].join('\n');
}

const element = (name: string, type: string, fields: readonly Field[]): string[] => [
  `<xs:element name="${name}" type="tns:${type}"/>`, ...complex(fields, ` name="${type}"`),
];

function complex(fields: readonly Field[], name = ''): string[] {
  return [`<xs:complexType${name}>`, ...indented(sequence(fields), 2), '</xs:complexType>'];
}

const sequence = (fields: readonly Field[]): string[] => (fields.length === 0 ? ['<xs:sequence/>'] : ['<xs:sequence>', ...indented(fields.flatMap((f) => particle(f)), 2), '</xs:sequence>']);

function particle({ name, optional, shape }: Field): string[] {
  const occurs = optional ? ' minOccurs="0"' : '';
  if (shape.kind === 'leaf') return [`<xs:element name="${name}" type="xs:${shape.type}"${occurs}/>`];
  if (shape.kind === 'choice') return [`<xs:choice${occurs}>`, ...indented(shape.fields.flatMap(particle), 2), '</xs:choice>'];
  return [`<xs:element name="${name}"${occurs}>`, ...indented(typeOf(shape), 2), '</xs:element>'];
}

function typeOf(shape: Exclude<FieldShape, { kind: 'leaf' | 'choice' }>): string[] {
  switch (shape.kind) {
    case 'struct': return complex(shape.fields);
    case 'items': return itemType(shape.fields, shape.some);
    case 'ids': return itemType([{ name: shape.leaf, optional: false, from: undefined, shape: { kind: 'leaf', type: 'string' } }], shape.some);
    case 'userData': return [
      '<xs:complexType mixed="true">', ...indented(sequence([{ name: 'data', optional: shape.optional, from: undefined, shape: { kind: 'leaf', type: 'string' } }]), 2),
      '  <xs:attribute name="version" type="xs:string" use="required" fixed="1.0"/>', '  <xs:attribute name="encoding" type="xs:string" use="required" fixed="base64"/>', '</xs:complexType>',
    ];
  }
}

function itemType(fields: readonly Field[], some: boolean): string[] {
  return ['<xs:complexType>', '  <xs:sequence>', `    <xs:element name="item"${some ? '' : ' minOccurs="0"'} maxOccurs="unbounded">`, ...indented(complex(fields), 6), '    </xs:element>', '  </xs:sequence>', '</xs:complexType>'];
}

const message = (name: string, of: string): string[] => [`<message name="${name}">`, `  <part name="body" element="tns:${of}"/>`, '</message>'];
const portOperation = (name: string): string[] => [`<operation name="${name}">`, `  <input message="tns:${name}RequestMsg"/>`, `  <output message="tns:${name}ResponseMsg"/>`, '</operation>'];
const boundOperation = (name: string): string[] => [
  `<operation name="${name}">`, `  <soap:operation soapAction="${name}"/>`, '  <input>', '    <soap:body use="literal"/>', '  </input>', '  <output>', '    <soap:body use="literal"/>', '  </output>', '</operation>',
];
const indented = (lines: readonly string[], by: number): string[] => lines.map((line) => ' '.repeat(by) + line);
