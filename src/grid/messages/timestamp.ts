/** When a message was signed, and until when it is good: from the text that was signed. */
import { Fault } from '../../lease/faults.ts';
import { elementsOf, isNamed } from './document.ts';
import { WSU } from './names.ts';
import { distrusted } from './refusals.ts';
import { parseXml, type Element } from './xml.ts';

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

export interface TimeRules {
  /** How far clocks may differ, ms. */
  readonly skewMs: number;
  /** What is signed for longer is good for so long only, so that what must not come twice is not remembered for ever. An hour where it is not given. */
  readonly longestMs?: number;
}

const LONGEST_MS = 3_600_000;

/** @returns until when it must be remembered, ms. @throws Fault MessageRefused, RequestExpired */
export function checkTimestamp(canonical: string, now: number, { skewMs, longestMs = LONGEST_MS }: TimeRules): number {
  const parts = elementsOf(parseXml(canonical, () => { throw distrusted('TimestampMalformed', 'The timestamp cannot be read.'); }));
  const [createdAt, expiresAt] = ['Created', 'Expires'].map((local) => {
    const [one, more] = parts.filter((p) => isNamed(p, WSU, local));
    if (more !== undefined) throw distrusted('TimestampMalformed', `The timestamp says ${local} twice.`);
    return one === undefined ? undefined : timeOf(one);
  });
  if (createdAt === undefined) throw distrusted('TimestampMalformed', 'The timestamp does not say when it was created.');
  const until = Math.min(expiresAt ?? createdAt + longestMs, createdAt + longestMs);
  if (createdAt > now + skewMs) throw new Fault('RequestExpired', `The message is not valid yet: it was signed ${seconds(createdAt - now)} in the future of this server's clock.`);
  if (until + skewMs < now) throw new Fault('RequestExpired', `The message has expired ${seconds(now - until)} ago by this server's clock.`);
  return until + skewMs;
}

function timeOf(element: Element): number {
  const m = TIME.exec((element.textContent ?? '').trim());
  const [, seconds = '', fraction = '', zone = ''] = m ?? [];
  const ms = m === null ? NaN : Date.parse(`${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}${zone}`);
  if (Number.isNaN(ms)) throw distrusted('TimestampMalformed', 'A time of the timestamp is none, or has no zone.');
  return ms;
}

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
