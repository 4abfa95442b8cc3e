/** A site's own code, as the house sees it: something that is asked and answers, or does not. */
export interface Outside {
  /** Rejects with OutsideFailed. */
  ask(input: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** No answer, or an error instead of one; the message is for administrators. */
export class OutsideFailed extends Error {
  override readonly name = 'OutsideFailed';
}

/** Asks that may wait for their answers at the same time. */
export const MOST_UNDER_WAY = 200;

export function tooMany(): OutsideFailed {
  return new OutsideFailed(`${MOST_UNDER_WAY} requests wait for its answer already`);
}
