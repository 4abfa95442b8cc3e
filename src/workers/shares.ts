/** Who of many may be at work: so many at a time of one node, for one user, and of all. Nobody waits for a bound of another's. */
export interface Share {
  readonly node: number;
  readonly user: number;
}

export interface Turn {
  /** Somebody waits who would have this one's place. */
  readonly wanted: boolean;
  /** Lets those who wait go first, and resolves when it is its own turn again. */
  pass(): Promise<void>;
}

export interface Shares {
  use<T>(share: Share, work: (turn: Turn) => Promise<T>): Promise<T>;
}

export function createShares(most: { readonly node: number; readonly user: number; readonly all: number }): Shares {
  const working = new Set<{ readonly share: Share }>();
  const waiting = new Set<{ readonly share: Share; readonly begin: () => void }>();
  const count = (fits: (s: Share) => boolean, but?: { readonly share: Share }): number => [...working].filter((w) => w !== but && fits(w.share)).length;
  const fits = ({ node, user }: Share, but?: { readonly share: Share }): boolean =>
    count(() => true, but) < most.all && count((s) => s.node === node, but) < most.node && count((s) => s.user === user, but) < most.user;

  async function enter(share: Share, me: { readonly share: Share }): Promise<void> {
    if (!fits(share)) await new Promise<void>((resolve) => waiting.add({ share, begin: () => { working.add(me); resolve(); } }));
    else working.add(me);
  }

  function leave(me: { readonly share: Share }): void {
    working.delete(me);
    for (const next of waiting) {
      if (!fits(next.share)) continue;
      waiting.delete(next);
      next.begin();
    }
  }

  return {
    async use(share, work) {
      const me = { share };
      await enter(share, me);
      try {
        return await work({
          get wanted() { return [...waiting].some((w) => fits(w.share, me)); },
          async pass() {
            leave(me);
            await enter(share, me);
          },
        });
      } finally {
        leave(me);
      }
    },
  };
}
