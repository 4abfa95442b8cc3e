/** Resource properties: three operations over whatever a service computes for the resource that is asked about. */
import { clark, type Clark, type QName } from '../soap/names.ts';
import { typed, type Codec, type SoapObject, type SoapValue } from '../soap/schema/codec.ts';
import { isFault } from '../lease/faults.ts';
import type { Call, Handlers } from './call.ts';
import { baseFault } from './faults.ts';
import { PROPERTIES, XPATH_DIALECT } from './wire/names.ts';
import { select } from './query.ts';

/** One property: its name, and its values, as many as there are. */
export type Property = readonly [name: QName, ...values: SoapValue[]];

export interface PropertySource {
  /** Element around all of them. */
  readonly document: Clark;
  /** All that the service declares, also those without a value now. */
  read(call: Call): Promise<readonly Property[]> | readonly Property[];
  /** Whether several values are possible, by local name. */
  readonly repeated?: readonly string[];
}

export function propertyHandlers(source: PropertySource, codec: Codec): Handlers {
  return {
    async GetResourceProperty(call) {
      return { any: values(await source.read(call), asked(call.input)) };
    },
    async GetMultipleResourceProperties(call) {
      const all = await source.read(call);
      return { any: ((call.input as SoapObject)['ResourceProperty'] as readonly unknown[]).flatMap((name) => values(all, asked(name))) };
    },
    async QueryResourceProperties(call) {
      const expression = (call.input as SoapObject)['QueryExpression'] as SoapObject | undefined;
      if (expression?.['@Dialect'] !== XPATH_DIALECT) throw queryFault('UnknownQueryExpressionDialectFault', `the dialect of the query must be ${XPATH_DIALECT}`);
      const path = String(expression['$'] ?? '').trim();
      const whole = wholeOf(source, await source.read(call));
      // What every client sends.
      if (path === '/') return { any: [typed(source.document, whole)] };
      return selected(codec.encode(source.document, whole), path, expression);
    },
  };
}

/** `'*'` would be any name: the operation's input is a name, or nothing that we know. */
function asked(input: SoapValue): QName {
  const name = input as Partial<QName> | null;
  if (typeof name?.local === 'string') return { ns: name.ns ?? '', local: name.local };
  throw unknownProperty('');
}

function values(all: readonly Property[], { ns, local }: QName): object[] {
  const found = all.find(([name]) => name.ns === ns && name.local === local);
  if (found === undefined) throw unknownProperty(clark(ns, local));
  const [name, ...rest] = found;
  return rest.map((value) => typed(clark(name.ns, name.local), value));
}

const unknownProperty = (name: string): Error =>
  baseFault(clark(PROPERTIES, 'InvalidResourcePropertyQNameFault'), name === '' ? 'no property is named' : `the resource has no property ${name}`);

const queryFault = (local: string, why: string): Error => baseFault(clark(PROPERTIES, local), why);

function wholeOf({ repeated = [] }: PropertySource, all: readonly Property[]): SoapObject {
  return Object.fromEntries(all.flatMap(([{ local }, ...rest]): Array<[string, SoapValue]> =>
    (repeated.includes(local) ? [[local, rest]] : rest.length === 0 ? [] : [[local, rest[0]]])));
}

function selected(document: string, path: string, expression: SoapObject): SoapValue {
  try {
    return select(document, path, expression);
  } catch (e) {
    if (isFault(e)) throw queryFault(e.code === 'TooMany' ? 'QueryEvaluationErrorFault' : 'InvalidQueryExpressionFault', e.text);
    throw e;
  }
}
