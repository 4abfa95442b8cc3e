/** Reads WSDL and XSD files into services, operations and one codec. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { clark, type Clark, type QName } from '../names.ts';
import { createCodec } from '../schema/create.ts';
import { createCollector } from '../schema/collect.ts';
import { resolveSchema } from '../schema/load.ts';
import { readXml } from '../xml/read.ts';
import { attributeOf, elementsOf, namespaceOf, resolveQName, type XmlElement } from '../xml/tree.ts';
import type { Descriptions, SoapOperation, SoapService } from './types.ts';

const WSDL = 'http://schemas.xmlsoap.org/wsdl/';
const WSDL_SOAP = 'http://schemas.xmlsoap.org/wsdl/soap/';
const ACTION = '{http://schemas.xmlsoap.org/ws/2004/03/addressing}Action';
const PROPERTIES = '{http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd}ResourceProperties';

/** A component of WSDL, and the namespace of the document that it stands in. */
interface Found {
  readonly at: XmlElement;
  readonly target: string;
}
type Parts = Readonly<Record<'message' | 'portType' | 'binding' | 'service', Map<Clark, Found>>>;

/** `services` are the paths, within `folder`, of WSDL files with one service each. */
export function loadDescriptions(folder: string, services: readonly string[]): Descriptions {
  return describe(readDocuments(folder), services);
}

/** Files of the folder that have to do with it, by path with slashes. */
export function readDocuments(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile() && /\.(?:wsdl|xsd)$/.test(e.name));
  return new Map(files.map((e) => {
    const path = join(e.parentPath, e.name);
    return [relative(folder, path).split(sep).join('/'), readFileSync(path, 'utf8')];
  }));
}

export function describe(documents: ReadonlyMap<string, string>, services: readonly string[]): Descriptions {
  const roots = new Map<string, XmlElement>();
  const open = (path: string): XmlElement => {
    const text = documents.get(path);
    if (text === undefined) throw new Error(`no file ${path} among the service descriptions`);
    const root = roots.get(path) ?? readXml(text);
    roots.set(path, root);
    return root;
  };
  const collector = createCollector(open);
  const parts: Parts = { message: new Map(), portType: new Map(), binding: new Map(), service: new Map() };
  const named = services.map((path) => ({ path, service: onlyService(collect(path, open, parts, collector.schema), path) }));
  const schema = resolveSchema(collector.components, prefixesOf(roots.values()));
  return {
    codec: createCodec(schema), schema, documents,
    services: new Map(named.map(({ path, service }) => [service.local, serviceOf(service, path, parts)])),
  };
}

/** Registers what a WSDL and those that it imports hold; returns the file's own services. */
function collect(path: string, open: (path: string) => XmlElement, parts: Parts, schema: (at: XmlElement, path: string) => void, seen = new Set<string>()): QName[] {
  if (seen.has(path)) return [];
  seen.add(path);
  const root = open(path);
  const target = attributeOf(root, 'targetNamespace') ?? '';
  const services: QName[] = [];
  for (const child of elementsOf(root)) {
    if (child.ns !== WSDL) continue;
    if (child.local === 'import') collect(posix.join(posix.dirname(path), attributeOf(child, 'location') ?? ''), open, parts, schema, seen);
    if (child.local === 'types') for (const s of elementsOf(child)) schema(s, path);
    if (!(child.local in parts)) continue;
    const local = attributeOf(child, 'name') ?? '';
    parts[child.local as keyof Parts].set(clark(target, local), { at: child, target });
    if (child.local === 'service') services.push({ ns: target, local });
  }
  return services;
}

function onlyService(services: readonly QName[], path: string): QName {
  const [service] = services;
  if (service === undefined || services.length > 1) throw new Error(`${path} must hold one service, not ${services.length}`);
  return service;
}

function serviceOf(name: QName, document: string, parts: Parts): SoapService {
  const port = only(find(parts.service, name).at, 'port', document);
  const binding = find(parts.binding, referenceOf(port, 'binding', document));
  const portType = referenceOf(binding.at, 'type', document);
  const { at } = find(parts.portType, portType);
  const actions = new Map(children(binding.at, 'operation').map((o) => [attributeOf(o, 'name'), soapAction(o)]));
  const operations = children(at, 'operation').map((o) => operationOf(o, portType, actions, parts, document));
  const properties = at.attributes.find((a) => a.name === PROPERTIES);
  return {
    name: name.local, portType, document,
    properties: properties === undefined ? undefined : clarkOf(resolveQName(at.scope, properties.value), document),
    operations: new Map(operations.map((o) => [o.name, o])),
    byInput: new Map(operations.map((o) => [o.input, o])),
  };
}

function operationOf(at: XmlElement, portType: QName, actions: ReadonlyMap<string | undefined, string | undefined>, parts: Parts, document: string): SoapOperation {
  const name = attributeOf(at, 'name') ?? '';
  if (!actions.has(name)) throw new Error(`${document}: the operation ${name} is not bound`);
  const elementOf = (message: XmlElement): Clark => {
    const part = only(find(parts.message, referenceOf(message, 'message', document)).at, 'part', document);
    return clarkOf(referenceOf(part, 'element', document), document);
  };
  const input = only(at, 'input', document);
  const [output] = children(at, 'output');
  // WS-Addressing, 3.3: what the WSDL does not name is called by port type and message.
  const otherwise = (message: 'Request' | 'Response'): string => `${portType.ns.replace(/\/?$/, '/')}${portType.local}/${name}${message}`;
  return {
    name,
    action: attributeOf(input, ACTION) ?? actions.get(name) ?? otherwise('Request'),
    responseAction: (output === undefined ? undefined : attributeOf(output, ACTION)) ?? otherwise('Response'),
    input: elementOf(input),
    output: output === undefined ? undefined : elementOf(output),
    faults: new Map(children(at, 'fault').map((f) => [attributeOf(f, 'name') ?? '', elementOf(f)])),
  };
}

/** Prefixes as the documents use them; those that mean "this document" say nothing elsewhere. */
function prefixesOf(roots: Iterable<XmlElement>): Map<string, string> {
  const found = new Map<string, string>();
  for (const root of roots) {
    for (const prefix of root.scope.own.keys()) {
      const ns = namespaceOf(root.scope, prefix);
      if (ns !== undefined && prefix !== '' && prefix !== 'tns' && !found.has(ns)) found.set(ns, prefix);
    }
  }
  return found;
}

const children = (at: XmlElement, local: string): XmlElement[] => elementsOf(at).filter((c) => c.ns === WSDL && c.local === local);

function only(at: XmlElement, local: string, document: string): XmlElement {
  const [first, second] = children(at, local);
  if (first === undefined || second !== undefined) throw new Error(`${document}: ${at.local} ${attributeOf(at, 'name') ?? ''} must have one ${local}`);
  return first;
}

function soapAction(operation: XmlElement): string | undefined {
  const soap = elementsOf(operation).find((c) => c.ns === WSDL_SOAP && c.local === 'operation');
  return soap === undefined ? undefined : attributeOf(soap, 'soapAction');
}

function find(among: ReadonlyMap<Clark, Found>, name: QName): Found {
  const found = among.get(clark(name.ns, name.local));
  if (found === undefined) throw new Error(`the service descriptions do not define ${clark(name.ns, name.local)}`);
  return found;
}

function referenceOf(at: XmlElement, attribute: string, document: string): QName {
  const name = resolveQName(at.scope, attributeOf(at, attribute) ?? '');
  if (name === undefined) throw new Error(`${document}: ${at.local} ${attributeOf(at, 'name') ?? ''} has no ${attribute} that can be read`);
  return name;
}

function clarkOf(name: QName | undefined, document: string): Clark {
  if (name === undefined) throw new Error(`${document}: a name has a prefix that is not declared`);
  return clark(name.ns, name.local);
}
