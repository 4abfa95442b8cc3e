/**
 * Images by owner and name. A pattern without an owner is of everyone's and the user's own; `~` is the user, `common` owns
 * everyone's. An image's id stands for the image.
 */
import { matches } from '../patterns.ts';
import type { AskPart, Rule } from '../types.ts';

const COMMON = 'common';

export const images: Rule = {
  bound: 'images',
  fault: 'NotAuthorized',
  check({ policy }, ask) {
    const limit = policy.bounds.images;
    if (limit === undefined || ask.kind === 'extend') return undefined;
    const all = [...new Map(ask.parts.map(({ image }) => [image.id, image])).values()];
    const refused = all.filter((image) => !limit.some((pattern) => allows(pattern, image, ask.user)));
    return { limit, used: null, asked: (refused.length > 0 ? refused : all).map((i) => `${i.owner ?? COMMON}/${i.name}`), ok: refused.length === 0 };
  },
};

function allows(pattern: string, image: AskPart['image'], user: string): boolean {
  if (pattern === image.id) return true;
  const slash = pattern.indexOf('/');
  if (slash < 0) return matches(pattern, image.name);
  const owner = pattern.slice(0, slash);
  const ownerFits = owner === '~' ? image.owner === user : matches(owner, image.owner ?? COMMON);
  return ownerFits && matches(pattern.slice(slash + 1), image.name);
}
