/** Why a message's signature is not believed: one word for each reason, in the reasons of the fault that users get. */
import { Fault } from '../../lease/faults.ts';

export type MessageReason =
  | 'Malformed' | 'TooLarge' | 'Envelope' | 'SignatureCount' | 'SignaturePlace' | 'SignatureShape' | 'TokenMissing' | 'TokenUnreadable' | 'TokenKey'
  | 'Algorithm' | 'Reference' | 'IdNotUnique' | 'BodyUnsigned' | 'TimestampUnsigned' | 'TimestampMalformed' | 'BadSignature';

export function distrusted(reason: MessageReason, text: string): Fault {
  return new Fault('MessageRefused', text, [reason]);
}
