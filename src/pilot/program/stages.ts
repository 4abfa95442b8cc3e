/**
 * The stages of a pilot, and its exit codes. `begin → reserving → reserved → unreserving → unreserved`, with
 * `early-unreserving` between `reserved` and `unreserving` after a SIGTERM that came before the time was over. Whatever
 * happens from `reserving` on, the way leads through `unreserving`: nothing leaves a pilot that has changed its host but
 * the end that gives it back. Codes are those of the original (Nimbus 2.10.1).
 */
export const STAGES = ['begin', 'evaluating', 'reserving', 'reserved', 'early-unreserving', 'unreserving', 'unreserved'] as const;
export type Stage = (typeof STAGES)[number];

export const EXIT = {
  ok: 0,
  badArguments: 1,
  badConfig: 2,
  badEnvironment: 3,
  actionFailed: 4,
  /** A signal ended it, and everything was given back. */
  signalled: 5,
  signalFailed: 6,
  internal: 42,
} as const;
