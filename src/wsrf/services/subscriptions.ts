/** Subscribe and GetCurrentMessage of a workspace, and the manager of what was subscribed. */
import { NAME_OF_TOPIC, topicNamed } from '../topics.ts';
import type { AddressPolicy } from '../../platform/outside/address-policy.ts';
import { clark } from '../../soap/names.ts';
import type { Codec, SoapObject } from '../../soap/schema/codec.ts';
import type { XmlElement } from '../../soap/xml/tree.ts';
import { writeXml } from '../../soap/xml/write.ts';
import { readXml } from '../../soap/xml/read.ts';
import type { Call, Handlers, WsrfParts } from '../call.ts';
import { checkConsumer } from '../consumers.ts';
import { endpoint } from '../endpoints.ts';
import { baseFault } from '../faults.ts';
import { stateChanged } from '../messages.ts';
import { KEYS, LIFETIME, NOTIFICATION, SERVICES, SIMPLE_TOPICS } from '../wire/names.ts';
import { propertyHandlers, type Property } from '../properties.ts';
import { numberOf } from './workspace.ts';

const MOST_PROPERTIES = 8;
const LONGEST_PROPERTY = 4_096;

/** Of the workspace service. */
export function producerHandlers({ manager: { subscriptions } }: WsrfParts, policy: AddressPolicy): Handlers {
  return {
    async Subscribe(call) {
      const input = call.input as SoapObject;
      if (input['Precondition'] !== undefined || input['Selector'] !== undefined) throw refused('a subscription has neither precondition nor selector here: every change of its topic is told');
      const end = input['InitialTerminationTime'];
      const made = await subscriptions.create(call.context, numberOf(call), {
        topic: topicNamed(input['TopicExpression']), consumer: consumer(input['ConsumerReference'] as SoapObject | undefined, policy),
        wrapped: input['UseNotify'] !== false, endsAt: typeof end === 'number' ? end : null,
      });
      return { SubscriptionReference: endpoint(call.address, SERVICES.subscriptions, KEYS.subscription, made.id) };
    },
    async GetCurrentMessage(call) {
      const topic = topicNamed((call.input as SoapObject)['Topic']);
      const change = await subscriptions.latest(call.context, numberOf(call));
      if (topic === 'ResourceTermination' || change === null) throw baseFault(clark(NOTIFICATION, 'NoCurrentMessageOnTopicFault'), 'nothing was said on this topic yet');
      return { any: [stateChanged(change)] };
    },
  };
}

const refused = (why: string): Error => baseFault(clark(NOTIFICATION, 'SubscribeCreationFailedFault'), why);

function consumer(reference: SoapObject | undefined, policy: AddressPolicy): { address: string; properties: string[] } {
  const address = String((reference?.['Address'] as SoapObject | undefined)?.['$'] ?? '').trim();
  checkConsumer(address, policy);
  const { any = [] } = (reference?.['ReferenceProperties'] ?? {}) as { any?: readonly XmlElement[] };
  const properties = any.map((e) => writeXml(e));
  if (properties.length > MOST_PROPERTIES || properties.some((p) => p.length > LONGEST_PROPERTY)) throw refused(`a consumer’s reference has at most ${MOST_PROPERTIES} properties of ${LONGEST_PROPERTY} characters`);
  return { address, properties };
}

export function subscriptionHandlers(parts: WsrfParts, codec: Codec): Handlers {
  const { ctx, manager: { subscriptions } } = parts;
  const id = (call: Call): string => call.key ?? '';
  const { GetResourceProperty } = propertyHandlers({ document: clark(NOTIFICATION, 'SubscriptionManagerRP'), read: (call) => properties(parts, call) }, codec);
  return {
    ...(GetResourceProperty === undefined ? {} : { GetResourceProperty }),
    async Destroy(call) {
      await subscriptions.remove(call.context, id(call));
      return {};
    },
    async SetTerminationTime(call) {
      const at = (call.input as SoapObject)['RequestedTerminationTime'];
      const now = ctx.clock.now();
      const endsAt = typeof at === 'number' ? at : null;
      if (endsAt !== null && endsAt <= now) await subscriptions.remove(call.context, id(call));
      else await subscriptions.setEnd(call.context, id(call), endsAt);
      return { NewTerminationTime: endsAt, CurrentTime: now };
    },
    async PauseSubscription(call) {
      await subscriptions.pause(call.context, id(call), true);
      return {};
    },
    async ResumeSubscription(call) {
      await subscriptions.pause(call.context, id(call), false);
      return {};
    },
  };
}

async function properties({ ctx, manager }: WsrfParts, call: Call): Promise<Property[]> {
  const s = await manager.subscriptions.find(call.context, call.key ?? '');
  const any = s.consumer.properties.map((text) => readXml(Buffer.from(text)));
  return [
    [{ ns: LIFETIME, local: 'CurrentTime' }, ctx.clock.now()],
    [{ ns: LIFETIME, local: 'TerminationTime' }, s.endsAt],
    [{ ns: NOTIFICATION, local: 'ConsumerReference' }, { Address: s.consumer.address, ...(any.length === 0 ? {} : { ReferenceProperties: { any } }) }],
    [{ ns: NOTIFICATION, local: 'TopicExpression' }, { '$': NAME_OF_TOPIC[s.topic], '@Dialect': SIMPLE_TOPICS }],
    [{ ns: NOTIFICATION, local: 'UseNotify' }, s.wrapped],
    [{ ns: NOTIFICATION, local: 'Precondition' }],
    [{ ns: NOTIFICATION, local: 'Selector' }],
    [{ ns: NOTIFICATION, local: 'SubscriptionPolicy' }],
    [{ ns: NOTIFICATION, local: 'CreationTime' }, s.createdAt],
  ];
}

