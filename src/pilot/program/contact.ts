/**
 * Where an original service listens (`--contact`): one target or two, joined by `+++`. One that begins `http://` is
 * asked by HTTP, the other is `[user@]host:port/absolute/path`, a script that is called through SSH.
 */
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

export interface Contact {
  readonly http: URL | null;
  readonly ssh: { readonly target: string; readonly port: number; readonly path: string } | null;
}

const HTTP = /^http:\/\/[^\s/?#@]+\/?$/;
/** What may follow is an argument of `ssh` and a word of a remote shell: no more than names are made of. */
const SSH = /^((?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(\d{1,5})(\/[A-Za-z0-9_./@%+-]+)$/;

/** @throws PilotError badArguments */
export function parseContact(text: string): Contact {
  const parts = text.split('+++');
  let [http, ssh]: [Contact['http'], Contact['ssh']] = [null, null];
  for (const part of parts) {
    const found = SSH.exec(part);
    if (http === null && HTTP.test(part) && URL.canParse(part)) http = new URL(part);
    else if (ssh === null && found !== null && Number(found[2]) <= 65_535) ssh = { target: found[1] ?? '', port: Number(found[2]), path: found[3] ?? '' };
    else throw new PilotError(EXIT.badArguments, `--contact must be http://HOST:PORT, or [USER@]HOST:PORT/PATH, or both joined by +++; ${JSON.stringify(part.slice(0, 80))} is neither`);
  }
  return { http, ssh };
}
