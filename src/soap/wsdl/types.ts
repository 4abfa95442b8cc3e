/** What a WSDL says of a service, as the dispatcher needs it. */
import type { Clark, QName } from '../names.ts';
import type { Codec } from '../schema/codec.ts';
import type { Schema } from '../schema/model.ts';

export interface SoapOperation {
  readonly name: string;
  /** SOAPAction and wsa:Action of the request. */
  readonly action: string;
  readonly responseAction: string;
  /** Element in the request's Body. */
  readonly input: Clark;
  /** Element in the response's Body; undefined for a message without an answer. */
  readonly output: Clark | undefined;
  /** Element of each declared fault, by the fault's name. */
  readonly faults: ReadonlyMap<string, Clark>;
}

export interface SoapService {
  /** `WorkspaceService`: the service's name and the last part of its path. */
  readonly name: string;
  readonly portType: QName;
  /** Element that holds the resource's properties, where it has any. */
  readonly properties: Clark | undefined;
  readonly operations: ReadonlyMap<string, SoapOperation>;
  readonly byInput: ReadonlyMap<Clark, SoapOperation>;
  /** The service's WSDL, a path in the set of documents. */
  readonly document: string;
}

/** WSDL and XSD files that belong together, read once at start. */
export interface Descriptions {
  readonly codec: Codec;
  readonly schema: Schema;
  readonly services: ReadonlyMap<string, SoapService>;
  /** Text by path, as `workspace/factory_service.wsdl`. */
  readonly documents: ReadonlyMap<string, string>;
}
