/** What subscribers are told, as WS-ResourceProperties and WS-ResourceLifetime have it; containers of the time wrap a change once more. */
import type { StateChange } from '../manager/subscriptions.ts';
import { makeElement, type XmlElement } from '../soap/xml/tree.ts';
import { CURRENT_STATE, GLOBUS_NOTIFICATION, LIFETIME, PROPERTIES, TYPES } from './wire/names.ts';

const element = (ns: string, local: string, ...children: Array<XmlElement | string>): XmlElement => makeElement({ ns, local }, { children });

const value = (which: 'OldValue' | 'NewValue', state: string): XmlElement =>
  element(PROPERTIES, which, element(CURRENT_STATE.ns, CURRENT_STATE.local, element(TYPES, 'state', state)));

export function stateChanged({ before, after }: { before: StateChange['before'] | string; after: string }): XmlElement {
  return element(GLOBUS_NOTIFICATION, 'ResourcePropertyValueChangeNotificationElementType',
    element(PROPERTIES, 'ResourcePropertyValueChangeNotification', ...(before === null ? [] : [value('OldValue', before)]), value('NewValue', after)));
}

export function terminated(at: number, why: string): XmlElement {
  return element(LIFETIME, 'TerminationNotification',
    element(LIFETIME, 'TerminationTime', new Date(at).toISOString()), ...(why === '' ? [] : [element(LIFETIME, 'TerminationReason', why)]));
}
