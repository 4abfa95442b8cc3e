/** What a WSDL of EC2 says on the wire, one line for each request and response: names, types, order, multiplicity. */
import { attributeOf, childOf, elementsOf, type XmlElement } from '../../../src/soap/xml/tree.ts';
import { readXml } from '../../../src/soap/xml/read.ts';

const XS = 'http://www.w3.org/2001/XMLSchema';
const WSDL = 'http://schemas.xmlsoap.org/wsdl/';
const SOAP = 'http://schemas.xmlsoap.org/wsdl/soap/';
const LIMITS = { bytes: 4 * 1024 * 1024, depth: 100, attributes: 64, nodes: 1_000_000 };

const named = (parent: XmlElement, ns: string, local: string): XmlElement[] => elementsOf(parent).filter((e) => e.ns === ns && e.local === local);
const get = (e: XmlElement, name: string): string | undefined => attributeOf(e, name);
const localOf = (name: string | undefined): string => (name ?? '').replace(/^.*:/, '');

/** @param only actions to tell of; all when undefined */
export function wsdlFacts(text: string, only?: ReadonlySet<string>): string[] {
  const definitions = readXml(text.replace(/<!DOCTYPE[^>]*>/, ''), LIMITS);
  const schema = named(named(definitions, WSDL, 'types')[0]!, XS, 'schema')[0]!;
  const find = (kind: string, name: string): XmlElement => named(schema, XS, kind).find((e) => get(e, 'name') === name)!;

  function content(type: XmlElement): string {
    return elementsOf(type).filter((e) => e.ns === XS).map((e) => {
      const min = get(e, 'minOccurs') === '0' ? '?' : '';
      const max = get(e, 'maxOccurs') === 'unbounded' ? '*' : '';
      if (e.local === 'sequence') return content(e);
      // A choice of one is that one.
      if (e.local === 'choice' && elementsOf(e).length === 1) return content(e);
      if (e.local === 'choice') return `(${content(e).split(' ').join('|')})${min}`;
      if (e.local === 'group') return content(find('group', localOf(get(e, 'ref'))));
      if (e.local === 'attribute') return `@${get(e, 'name')}=${get(e, 'fixed')}`;
      if (e.local !== 'element') return '';
      const ref = get(e, 'type');
      const builtIn = ref !== undefined && e.scope !== undefined && /^xsd?:/.test(ref);
      const own = childOf(e, `{${XS}}complexType`);
      const inner = builtIn ? `:${localOf(ref)}` : `{${content(own ?? find('complexType', localOf(ref)))}}`;
      return `${get(e, 'name')}${min}${max}${inner}`;
    }).filter((s) => s !== '').join(' ');
  }

  const port = named(definitions, WSDL, 'portType')[0]!;
  const binding = named(definitions, WSDL, 'binding')[0]!;
  const service = named(definitions, WSDL, 'service')[0]!;
  const messages = new Map(named(definitions, WSDL, 'message').map((m) => [get(m, 'name'), localOf(get(named(m, WSDL, 'part')[0]!, 'element'))]));
  const names = named(port, WSDL, 'operation').map((o) => get(o, 'name') ?? '').filter((n) => only === undefined || only.has(n)).sort();
  return [
    `${get(definitions, 'targetNamespace')} ${get(schema, 'elementFormDefault')} ${get(port, 'name')} ${get(binding, 'name')} ${get(service, 'name')} ${get(named(service, WSDL, 'port')[0]!, 'name')}`,
    ...names.flatMap((name) => {
      const operation = named(port, WSDL, 'operation').find((o) => get(o, 'name') === name)!;
      const bound = named(binding, WSDL, 'operation').find((o) => get(o, 'name') === name)!;
      const action = get(named(bound, SOAP, 'operation')[0]!, 'soapAction');
      return ['input', 'output'].map((side) => {
        const element = messages.get(localOf(get(named(operation, WSDL, side)[0]!, 'message'))) ?? '';
        return `${name} ${side} ${action} ${element}: ${content(find('complexType', localOf(get(find('element', element), 'type'))))}`;
      });
    }),
  ];
}
