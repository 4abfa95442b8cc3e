/** Brings what has happened to a lease to the consumer of a subscription. */
import type { Context } from '../platform/context.ts';
import { newRequestId } from '../platform/ids.ts';
import type { AddressPolicy } from '../platform/outside/address-policy.ts';
import { requestEnvelope } from '../soap/message/client.ts';
import { clark } from '../soap/names.ts';
import type { Codec, SoapObject } from '../soap/schema/codec.ts';
import { readXml } from '../soap/xml/read.ts';
import type { XmlElement } from '../soap/xml/tree.ts';
import { writeXml } from '../soap/xml/write.ts';
import { bring } from './consumers.ts';
import { endpoint } from './endpoints.ts';
import { stateChanged, terminated } from './messages.ts';
import { KEYS, NOTIFICATION, SERVICES, SIMPLE_TOPICS } from './wire/names.ts';
import { NAME_OF_TOPIC, type Topic } from './topics.ts';

const NOTIFY = 'http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification/Notify';

/** What is told, and to whom: as `workers/notifier.ts` has them. */
interface Subscription {
  readonly number: number | null;
  readonly topic: Topic;
  readonly consumer: { readonly address: string; readonly properties: readonly string[] };
  readonly wrapped: boolean;
}
interface News {
  readonly at: number;
  readonly before: string | null;
  readonly after: string;
  readonly why: string;
}

export interface NotifyParts {
  readonly ctx: Context;
  readonly codec: Codec;
  readonly policy: AddressPolicy;
  /** Address of the services, with a slash at the end. */
  readonly base: () => string;
  readonly deadlineMs: number;
}

/** @throws when the consumer has not taken it */
export async function notify(parts: NotifyParts, s: Subscription, news: readonly News[]): Promise<void> {
  const messages = news.map((n) => (s.topic === 'currentState' ? stateChanged(n) : terminated(n.at, n.why)));
  // Without the wrapping, each message is a request of its own.
  for (const body of s.wrapped ? [wrapped(parts, s, messages)] : messages.map((m) => writeXml(m))) {
    await send(parts, s, body);
  }
}

function wrapped({ codec, base }: NotifyParts, s: Subscription, messages: readonly XmlElement[]): string {
  const producer = s.number === null ? {} : { ProducerReference: endpoint(base(), SERVICES.workspace, KEYS.workspace, String(s.number)) };
  return codec.encode(clark(NOTIFICATION, 'Notify'), {
    NotificationMessage: messages.map((message): SoapObject => ({ Topic: { '$': NAME_OF_TOPIC[s.topic], '@Dialect': SIMPLE_TOPICS }, ...producer, Message: { any: [message] } })),
  });
}

async function send({ ctx, policy, deadlineMs }: NotifyParts, { consumer }: Subscription, body: string): Promise<void> {
  const envelope = requestEnvelope({
    to: { address: consumer.address, properties: consumer.properties.map((p) => readXml(Buffer.from(p))) },
    action: NOTIFY, messageId: `uuid:${newRequestId(ctx.random)}`, body,
  });
  await bring(ctx, policy, { address: consumer.address, action: NOTIFY, deadlineMs }, envelope);
}
