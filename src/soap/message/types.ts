/** A SOAP message that was read, and what WS-Addressing says in it. */
import type { Clark } from '../names.ts';
import type { XmlElement } from '../xml/tree.ts';

export interface EndpointReference {
  readonly address: string;
  /** Reference properties: copied as header blocks into what is sent to the endpoint. */
  readonly properties: readonly XmlElement[];
}

export interface Addressing {
  readonly messageId: string | undefined;
  readonly to: string | undefined;
  /** Without the blanks around it that some clients send. */
  readonly action: string | undefined;
  readonly from: EndpointReference | undefined;
  readonly replyTo: EndpointReference | undefined;
  readonly faultTo: EndpointReference | undefined;
  readonly relatesTo: readonly string[];
}

export interface SoapMessage {
  readonly envelope: XmlElement;
  /** Header blocks meant for us, by name. A name stands there once, but for wsa:RelatesTo (the first is here). */
  readonly headers: ReadonlyMap<Clark, XmlElement>;
  /** Those of them that must be understood. */
  readonly mandatory: readonly Clark[];
  /** The one child of Body. */
  readonly body: XmlElement;
  readonly addressing: Addressing;
}
