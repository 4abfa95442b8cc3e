/** Who of many may be at work: so many at a time of all, and so many of each kind of share, as of one node or for one user. Nobody waits for a bound of another's. */
export type Share<Kind extends string> = Readonly<Record<Kind, number>>;

export interface Turn {
  /** Somebody waits who would have this one's place. */
  readonly wanted: boolean;
  /** Lets those who wait go first, and resolves when it is its own turn again. */
  pass(): Promise<void>;
}

export interface Shares<Kind extends string> {
  use<T>(share: Share<Kind>, work: (turn: Turn) => Promise<T>): Promise<T>;
}

/** @param most of each kind's nodes, users, …: what one of them may have at work */
export function createShares<Kind extends string>(all: number, most: Share<Kind>): Shares<Kind> {
  interface Worker { readonly share: Share<Kind> }
  const working = new Set<Worker>();
  const waiting = new Set<Worker & { readonly begin: () => void }>();
  const kinds = Object.keys(most) as Kind[];
  function fits(share: Share<Kind>, but?: Worker): boolean {
    const others = [...working].filter((w) => w !== but);
    return others.length < all && kinds.every((k) => others.filter((w) => w.share[k] === share[k]).length < most[k]);
  }

  async function enter(share: Share<Kind>, me: Worker): Promise<void> {
    if (!fits(share)) await new Promise<void>((resolve) => waiting.add({ share, begin: () => { working.add(me); resolve(); } }));
    else working.add(me);
  }

  function leave(me: Worker): void {
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
