/** `GET …?wsdl`: the newest version's, or the one that `&version=` or a path like `/doc/2008-05-05/` names. */
import { Fault } from '../../lease/faults.ts';
import type { Answer, DoorRequest } from '../door.ts';
import { refusal } from '../door.ts';
import { shown } from '../inputs.ts';
import { SOAP_VERSIONS } from './shapes.ts';
import { namespaceOf, SOAP_TABLES } from './versions.ts';
import { wsdlText } from './wsdl.ts';

const IN_PATH = /\/doc\/(\d{4}-\d\d-\d\d)(?:\/|$)/;

/** Undefined: the request is for something else. */
export function wsdlAnswer({ id, method, target }: Pick<DoorRequest, 'id' | 'method' | 'target'>, origin: string): Answer | undefined {
  const [path = '', query = ''] = target.split(/\?(.*)/s);
  if (method !== 'GET' || !/^wsdl(?:&|=|$)/i.test(query)) return undefined;
  const version = new URLSearchParams(query).get('version') ?? IN_PATH.exec(path)?.[1] ?? SOAP_VERSIONS.at(-1) as string;
  const table = SOAP_TABLES.get(namespaceOf(version));
  if (table === undefined) return refusal(new Fault('VersionUnknown', `There is no WSDL of version ${shown(version)}; there are ${SOAP_VERSIONS.join(', ')}.`), id);
  return { status: 200, body: wsdlText(table, origin + path) };
}
