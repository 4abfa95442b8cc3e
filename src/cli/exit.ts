/** How the command ends. */
export const EXIT = {
  ok: 0,
  /** The service refused, or something failed. */
  refused: 1,
  /** The command line or the configuration is wrong, or the service cannot start. */
  usage: 2,
  /** No service answers at the data directory. */
  unreachable: 3,
} as const;

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What the service answered instead of a result. */
export class Refused extends Error {
  override readonly name = 'Refused';
  constructor(readonly code: string, message: string, readonly reasons: readonly string[] = []) {
    super(message);
  }
}

export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  /** `absent`: there is no service; else there is one that does not let us in or does not answer. */
  constructor(message: string, readonly absent = false) {
    super(message);
  }
}

/** Some of several items failed; each was reported already. */
export class SomeFailed extends Error {
  override readonly name = 'SomeFailed';
}
