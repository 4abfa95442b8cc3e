/**
 * Where services listen for this pilot: as its credentials say, and as services have said since, which may have been started long
 * after its job was asked for. Who said it stands first; those of the credentials are never forgotten.
 */
import { MAX_CONTACTS } from '../protocol.ts';

export class Contacts {
  readonly #given: readonly string[];
  #known: readonly string[];

  constructor(given: readonly string[]) {
    this.#given = given;
    this.#known = given;
  }

  /** In turn, for whoever counts its own turns; with `further` ways the turns after the last are theirs, to the first service. */
  at(turn: number, further = 0): { readonly url: string; readonly further: boolean } {
    const place = turn % (this.#known.length + further);
    return { url: this.#known[place] ?? this.#known[0] ?? '', further: place >= this.#known.length };
  }

  /** What is no list of contacts, or less safe than those given, is not taken. True when something changed. */
  learn(said: unknown): boolean {
    if (!isContacts(said) || !said.every((url) => this.#given.some((g) => schemeOf(g) === schemeOf(url)))) return false;
    const known = [...new Set([...said, ...this.#given])].slice(0, MAX_CONTACTS + this.#given.length);
    if (known.length === this.#known.length && known.every((url, i) => url === this.#known[i])) return false;
    this.#known = known;
    return true;
  }
}

const schemeOf = (url: string): string => url.slice(0, url.indexOf(':'));

export const isContacts = (v: unknown): v is string[] => Array.isArray(v) && v.length > 0 && v.length <= MAX_CONTACTS && v.every(isContact);

function isContact(v: unknown): boolean {
  if (typeof v !== 'string' || v.length > 300 || !/^https?:\/\/[^\s/?#@]+\/?$/.test(v)) return false;
  return URL.canParse(v);
}
