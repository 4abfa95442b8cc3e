/** The services' descriptions, and all of them as lines that can be compared: one fact of the wire each. */
import { fileURLToPath } from 'node:url';
import type { Clark } from '../../src/soap/names.ts';
import { wholeAttributes, wholeParticle, isMixed, textType, type ComplexType, type Particle, type SimpleType, type Type } from '../../src/soap/schema/model.ts';
import { loadDescriptions } from '../../src/soap/wsdl/load.ts';
import type { Descriptions } from '../../src/soap/wsdl/types.ts';

export const WSDL_FOLDER = fileURLToPath(new URL('../../wsdl', import.meta.url));
export const SERVICES = [
  ...['factory', 'instance', 'group', 'ensemble', 'status'].map((name) => `workspace/${name}_service.wsdl`),
  'wsrf/subscription_manager_service.wsdl', 'wsrf/notification_consumer_service.wsdl',
];
export const loadOurs = (): Descriptions => loadDescriptions(WSDL_FOLDER, SERVICES);

/** Elements that stand alone in files. */
export const FILE_ROOTS: readonly Clark[] = [
  '{http://www.globus.org/2008/06/workspace/metadata}VirtualWorkspace',
  '{http://www.globus.org/2008/06/workspace/negotiable}WorkspaceDeployment',
  '{http://www.globus.org/2008/06/workspace/types}OptionalParameters',
];

/** Short names of the namespaces, so that a line can be read. */
const SHORT: ReadonlyArray<readonly [string, string]> = [
  ...['types', 'negotiable', 'group', 'ensemble', 'status'].map((n) => [`http://www.globus.org/2008/06/workspace/${n}`, n] as const),
  ['http://www.globus.org/2008/06/workspace/metadata/definition', 'definition'], ['http://www.globus.org/2008/06/workspace/metadata/logistics', 'logistics'],
  ['http://www.globus.org/2008/06/workspace/metadata', 'metadata'], ['http://www.globus.org/2008/06/workspace', 'workspace'],
  ['http://schemas.ggf.org/jsdl/2005/11/jsdl', 'jsdl'], ['http://schemas.xmlsoap.org/ws/2004/03/addressing', 'wsa'], ['http://www.w3.org/2001/XMLSchema', 'xs'],
  ...['ResourceProperties', 'ResourceLifetime', 'BaseFaults'].map((n) => [`http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-${n}-1.2-draft-01.xsd`, n] as const),
  ['http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd', 'BaseNotification'],
];
const shorten = (line: string): string => SHORT.reduce((text, [ns, short]) => text.replaceAll(`{${ns}}`, `${short}:`), line);

export function serviceFacts({ services }: Descriptions): string[] {
  return [...services.values()].flatMap((s) => [
    `port type {${s.portType.ns}}${s.portType.local}, properties ${s.properties ?? 'none'}`,
    ...[...s.operations.values()].map((o) => `operation ${s.portType.local}.${o.name}: ${o.action} ${o.input} -> ${o.responseAction} ${o.output ?? 'nothing'}, faults ${[...o.faults].map(([n, e]) => `${n}=${e}`).sort().join(' ')}`),
  ]).map(shorten).sort();
}

/** Of everything that can be reached from the services' messages and properties, and from files. */
export function schemaFacts({ services, schema }: Descriptions): string[] {
  const roots = new Set<Clark>(FILE_ROOTS);
  for (const s of services.values()) {
    if (s.properties !== undefined) roots.add(s.properties);
    for (const o of s.operations.values()) for (const e of [o.input, o.output, ...o.faults.values()]) if (e !== undefined) roots.add(e);
  }
  const lines = new Set<string>();
  const seen = new Set<Type>();
  for (const name of [...roots].sort()) {
    const element = schema.elements.get(name);
    if (element === undefined) throw new Error(`no element ${name}`);
    lines.add(`element ${name}${element.nillable ? ' nillable' : ''}: ${reach(element.type, name, lines, seen)}`);
  }
  return [...lines].map(shorten).sort();
}

/** Adds the facts of a type and gives its name; types without a name are called by where they stand. */
function reach(type: Type, place: string, lines: Set<string>, seen: Set<Type>): string {
  const name = type.name ?? `type of ${place}`;
  if (seen.has(type) || type.name?.startsWith('{http://www.w3.org/2001/XMLSchema}') === true) return name;
  seen.add(type);
  lines.add(type.kind === 'simple' ? `${name} = ${simple(type)}` : `${name} = ${complex(type, name, lines, seen)}`);
  return name;
}

function simple(type: SimpleType): string {
  const { pattern, ...facets } = type.facets;
  const members = type.members.map((m) => m.name ?? simple(m)).join(' ');
  return `${type.variety} ${type.primitive}${members} ${JSON.stringify(facets)}${pattern === undefined ? '' : ` ${pattern.source}`}`;
}

function complex(type: ComplexType, name: string, lines: Set<string>, seen: Set<Type>): string {
  const text = wholeParticle(type) === undefined ? textType(type) : undefined;
  const attributes = wholeAttributes(type).map((a) => `@${a.name}${a.required ? '' : '?'} ${reach(a.type, `${name}/@${a.local}`, lines, seen)}`);
  const particle = wholeParticle(type);
  return [
    isMixed(type) ? 'mixed' : '', text === undefined ? '' : `text ${reach(text, `${name}/text`, lines, seen)}`,
    particle === undefined ? 'empty' : content(particle, name, lines, seen),
    ...attributes, type.anyAttribute ? '@any' : '', type.base?.kind === 'complex' ? `extends ${type.base.name ?? ''}` : '',
  ].filter((part) => part !== '').join(' ');
}

function content(particle: Particle, name: string, lines: Set<string>, seen: Set<Type>): string {
  const often = particle.min === 1 && particle.max === 1 ? '' : `{${particle.min},${particle.max}}`;
  switch (particle.kind) {
    case 'any': return `any(${particle.namespace})${often}`;
    case 'element': return `${particle.element.name}${particle.element.nillable ? '~' : ''}:${reach(particle.element.type, `${name}/${particle.element.local}`, lines, seen)}${often}`;
    default: return `${particle.kind}(${particle.parts.map((p) => content(p, name, lines, seen)).join(', ')})${often}`;
  }
}

