/** Lets at most `limit` pieces of work run at a time; the others wait in order. */
export interface Slots {
  use<T>(work: () => Promise<T>): Promise<T>;
  /** Somebody waits for a slot. */
  readonly wanted: boolean;
  /** For work that runs: lets the next one go first, and resolves when it is its own turn again. */
  pass(): Promise<void>;
}

export function createSlots(limit: number): Slots {
  const waiting: (() => void)[] = [];
  let running = 0;
  const enter = async (): Promise<void> => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
  };
  const leave = (): void => {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  };
  return {
    async use(work) {
      await enter();
      try {
        return await work();
      } finally {
        leave();
      }
    },
    get wanted() { return waiting.length > 0; },
    async pass() {
      leave();
      await enter();
    },
  };
}
