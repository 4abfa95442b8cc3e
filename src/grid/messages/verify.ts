/**
 * Messages that are signed themselves (WS-Security, X.509 tokens). It knows nothing of what they ask for, nor whom a door believes, so
 * every SOAP door can use it: bytes in; who signed, and the message made of what was signed, out.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/context.ts';
import type { Certificate } from '../certificates/certificate.ts';
import { LRU } from '../lru.ts';
import { composeSigned } from './compose.ts';
import { readSigned } from './document.ts';
import { verifySignature } from './signature.ts';
import { checkTimestamp, type TimeRules } from './timestamp.ts';
import { certificatesOf, findToken, type Token } from './token.ts';

export interface VerifiedMessage<P> {
  /** What `believe` said of the signer. */
  readonly signer: P;
  /** An envelope with the signed header blocks and the signed body: the only text that may be acted upon. */
  readonly message: string;
  /** Names what was signed and by whom, until `validUntil` (ms): the same message has the same, however its signature is written. */
  readonly id: Buffer;
  readonly validUntil: number;
}

export interface MessageVerifier<P> {
  /**
   * Undefined: there is no signature in it.
   * @param bytes as a door's reader has read them before, within its limits
   * @throws Fault MessageRefused, RequestExpired, and what `believe` throws
   */
  verify(bytes: Buffer): VerifiedMessage<P> | undefined;
}

export interface MessageRules<P> extends TimeRules {
  /** Whether the door knows the signer; the leaf comes first. @throws Fault */
  readonly believe: (chain: readonly Certificate[]) => P;
  /** Signatures with SHA-1 are believed, whatever is thought of certificates with it. */
  readonly sha1: boolean;
}

const MOST_TOKENS = 4_096;
/** Ends of lines in XML 1.1 only, but for the parser in all; written as references they stay what they are. */
const LINE_ENDS_OF_1_1 = /[\u0085\u2028]/g;

export function createMessageVerifier<P>(clock: Clock, rules: MessageRules<P>): MessageVerifier<P> {
  const tokens = new LRU<string, readonly Certificate[]>(MOST_TOKENS);

  function chainOf(token: Token): readonly Certificate[] {
    const key = createHash('sha256').update(token.kind).update(token.text).digest('base64');
    const chain = tokens.get(key) ?? certificatesOf(token);
    tokens.set(key, chain);
    return chain;
  }

  return {
    verify(bytes) {
      const text = bytes.toString('utf8').replace(LINE_ENDS_OF_1_1, (c) => `&#${c.charCodeAt(0)};`);
      const document = readSigned(text);
      if (document === undefined) return undefined;
      const chain = chainOf(findToken(document));
      // Strangers are turned away before the dear part.
      const signer = rules.believe(chain);
      const leaf = chain[0] as Certificate;
      const parts = verifySignature(text, document, leaf.x509.publicKey, rules);
      const validUntil = checkTimestamp(parts.timestamp, clock.now(), rules);
      return { signer, message: composeSigned(document, parts), id: idOf(leaf, [parts.timestamp, ...parts.headers, parts.body]), validUntil };
    },
  };
}

/** Of the text and not of the signature: some kinds of signature can be written in two ways. */
function idOf(leaf: Certificate, texts: readonly string[]): Buffer {
  const hash = createHash('sha256').update(leaf.fingerprint);
  for (const text of texts) hash.update(`\0${text.length}\0`).update(text);
  return hash.digest();
}
