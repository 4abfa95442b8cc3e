/** Grid services as commands call them: an operation, its input as the schema has it, its output or the service's refusal. */
import { randomUUID } from 'node:crypto';
import { endpointValue, readEndpoint } from '../../soap/message/addressing.ts';
import { readReply, requestEnvelope } from '../../soap/message/client.ts';
import type { EndpointReference } from '../../soap/message/types.ts';
import { clark, qname, type Clark } from '../../soap/names.ts';
import type { SoapObject, SoapValue } from '../../soap/schema/codec.ts';
import type { Descriptions } from '../../soap/wsdl/types.ts';
import { readXml } from '../../soap/xml/read.ts';
import { textOf } from '../../soap/xml/tree.ts';
import { gridDescriptions } from '../../wsrf/wire/descriptions.ts';
import { KEYS, WORKSPACE } from '../../wsrf/wire/names.ts';
import { Refused, Unreachable, UsageError } from '../exit.ts';
import { file, post, type Credentials } from './connection.ts';

export interface Services {
  readonly descriptions: Descriptions;
  /** @throws Refused with what the service says, Unreachable */
  call(service: string, operation: string, to: EndpointReference, input: SoapValue): Promise<SoapObject>;
}

export function services(credentials: Credentials, random: () => string = randomUUID): Services {
  const descriptions = gridDescriptions();
  return {
    descriptions,
    async call(service, operation, to, input) {
      const op = descriptions.services.get(service)?.operations.get(operation);
      if (op === undefined) throw new UsageError(`${service} has no operation ${operation}`);
      const body = descriptions.codec.encode(op.input, input);
      const bytes = await post(to.address, op.action, requestEnvelope({ to, action: op.action, messageId: `uuid:${random()}`, body }), credentials);
      const reply = readAnswer(bytes, descriptions, to.address);
      if (reply.ok) return reply.value as SoapObject;
      const { fault } = reply;
      const [message = fault.text, ...reasons] = fault.descriptions;
      throw new Refused(fault.element === undefined ? fault.code : qname(fault.element).local, message === '' ? 'The service refused and does not say why' : message, reasons);
    },
  };
}

function readAnswer(bytes: Buffer, { codec }: Descriptions, address: string): ReturnType<typeof readReply> {
  try {
    return readReply(bytes, codec);
  } catch (e) {
    throw new Unreachable(`${address} answered something that is no SOAP message: ${e instanceof Error ? e.message : String(e)}`);
  }
}

const EPR_TYPE = '{http://schemas.xmlsoap.org/ws/2004/03/addressing}EndpointReferenceType';

/** A file with one endpoint reference, its root of any name, as the original's client writes it. */
export function readEpr(name: string): EndpointReference {
  try {
    return readEndpoint(readXml(file(name)));
  } catch (e) {
    if (e instanceof UsageError) throw e;
    throw new UsageError(`${name} holds no endpoint reference: ${e instanceof Error ? e.message : String(e)}`);
  }
}

export function eprText({ codec }: Descriptions, reference: EndpointReference, root: Clark = clark(WORKSPACE, 'WORKSPACE_EPR')): string {
  return `${codec.encodeAs(EPR_TYPE, root, endpointValue(reference))}\n`;
}

/** What `create` and `report` give of an endpoint. */
export function eprOf(value: unknown): EndpointReference {
  const { Address, ReferenceProperties } = value as { Address: { $: string }; ReferenceProperties?: { any?: EndpointReference['properties'] } };
  return { address: Address.$, properties: ReferenceProperties?.any ?? [] };
}

/** Name of the service that a reference leads to. */
export const serviceOf = ({ address }: EndpointReference): string => new URL(address).pathname.split('/').at(-1) ?? '';

/** As people call the resource: `workspace 12`. */
export function called(reference: EndpointReference): string {
  const found = Object.entries(KEYS).find(([, name]) => reference.properties.some((p) => p.name === name));
  const key = reference.properties.find((p) => p.name === found?.[1]);
  return found === undefined || key === undefined ? reference.address : `${found[0]} ${textOf(key)}`;
}
