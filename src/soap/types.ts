/** What a door gives the dispatcher, and what it gets back. */
import type { Context } from '../platform/context.ts';
import type { BaseFault, SoapFault } from './message/fault.ts';
import type { SoapMessage } from './message/types.ts';
import type { Clark } from './names.ts';
import type { SoapValue } from './schema/codec.ts';
import type { Descriptions, SoapOperation, SoapService } from './wsdl/types.ts';

/** One request as it came. `T` is what the transport knows: the peer's certificate, its address. */
export interface SoapRequest<T> {
  readonly id: string;
  /** Last part of the path: `WorkspaceService`. */
  readonly service: string;
  /** URL of the service, as the client may use it again. */
  readonly address: string;
  /** As sent, quotes and all. */
  readonly soapAction: string | undefined;
  readonly bytes: Buffer;
  readonly transport: T;
}

/** Who asks, established before anything in the message is acted upon. */
export interface Admitted<C> {
  readonly context: C;
  /** Header blocks that were dealt with, as wsse:Security; with these, mustUnderstand is satisfied. */
  readonly understood?: readonly Clark[];
  /** To be acted upon instead of the message as it was read: made of the bytes that a signature covers. */
  readonly message?: SoapMessage;
}

export interface SoapCall<C> {
  readonly context: C;
  readonly requestId: string;
  readonly service: SoapService;
  readonly operation: SoapOperation;
  /** Text of the reference property that names the resource. */
  readonly key: string | undefined;
  /** The operation's input, decoded by its type. */
  readonly input: SoapValue;
  readonly message: SoapMessage;
  readonly address: string;
}

/** How far a request came before something was thrown. */
export interface SoapPlace {
  readonly service: SoapService;
  /** Undefined before the body was recognized. */
  readonly operation: SoapOperation | undefined;
  readonly key: string | undefined;
  readonly requestId: string;
}

/** The output's value; whatever for operations without an answer. */
export type SoapHandler<C> = (call: SoapCall<C>) => Promise<SoapValue> | SoapValue;

export interface SoapEndpoint<C> {
  /** Name of the reference property that names the resource. */
  readonly key?: Clark;
  /** One for each operation of the service's WSDL; one too many or too few is found at start. */
  readonly handlers: Readonly<Record<string, SoapHandler<C>>>;
  /** Takes requests whose action is another's than the body's, as agents of context brokers send them. */
  readonly anyAction?: boolean;
}

export interface DispatcherParts<T, C> {
  readonly ctx: Context;
  readonly descriptions: Descriptions;
  /** By service name. */
  readonly endpoints: Readonly<Record<string, SoapEndpoint<C>>>;
  /** Services that clients look for and that there are not here, with what to do instead. */
  readonly absent?: ReadonlyMap<string, string>;
  /** @throws Fault, SoapFault, BaseFault when the caller is not admitted */
  readonly admit: (message: SoapMessage, request: SoapRequest<T>) => Promise<Admitted<C>> | Admitted<C>;
  /** What was thrown that is no SOAP fault, as one. */
  readonly translate: (error: unknown, at: SoapPlace) => BaseFault | SoapFault;
  /** After every request, for logs and figures. */
  readonly observe?: (outcome: SoapOutcome, request: SoapRequest<T>) => void;
}

export interface SoapOutcome {
  readonly status: number;
  readonly body: string;
  readonly operation: string | undefined;
  readonly context: unknown;
  /** What was thrown, and what was answered for it. */
  readonly error?: unknown;
  readonly fault?: BaseFault | SoapFault;
  readonly ms: number;
}

export interface Dispatcher<T> {
  answer(request: SoapRequest<T>): Promise<SoapOutcome>;
}
