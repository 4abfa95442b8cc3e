/** How the program ends: the exit codes of the original workspace-control 2.3 (and later). */
export const EXIT = { ok: 0, arguments: 1, configuration: 2, environment: 3, failed: 4, internal: 42 } as const;

/** Ends the program with a sentence for the person who started it. */
export class Exit extends Error {
  override readonly name = 'Exit';
  constructor(readonly code: number, message: string) {
    super(message);
  }
}
