/** The topics of a workspace, as names on the wire. */
import { clark } from '../soap/names.ts';
import { sourceOf, type SoapObject } from '../soap/schema/codec.ts';
import { resolveQName } from '../soap/xml/tree.ts';
import { baseFault } from './faults.ts';
import { CURRENT_STATE, NOTIFICATION, RESOURCE_TERMINATION, TOPIC_DIALECTS } from './wire/names.ts';

export const NAME_OF_TOPIC = { currentState: CURRENT_STATE, ResourceTermination: RESOURCE_TERMINATION } as const;
export type Topic = keyof typeof NAME_OF_TOPIC;

/** @throws BaseFault */
export function topicNamed(expression: unknown): Topic {
  const topic = (expression ?? {}) as SoapObject;
  const fault = (local: string, why: string): Error => baseFault(clark(NOTIFICATION, local), why);
  if (!TOPIC_DIALECTS.includes(String(topic['@Dialect'] ?? ''))) throw fault('TopicPathDialectUnknownFault', `topics are written in one of the dialects ${TOPIC_DIALECTS.join(', ')}`);
  const source = sourceOf(topic);
  const name = source === undefined ? undefined : resolveQName(source.scope, String(topic['$'] ?? '').trim());
  if (name === undefined) throw fault('InvalidTopicExpressionFault', 'the topic is no name, or its prefix is not declared');
  const found = (Object.keys(NAME_OF_TOPIC) as Topic[]).find((t) => NAME_OF_TOPIC[t].ns === name.ns && NAME_OF_TOPIC[t].local === name.local);
  if (found === undefined) throw fault('TopicNotSupportedFault', `there is no topic ${clark(name.ns, name.local)}`);
  return found;
}
