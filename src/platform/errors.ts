/** Why the program cannot start or go on: a sentence for the administrator that says what to do, shown without a stack. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** `ENOENT` and the like, or undefined. */
export function errorCode(e: unknown): string | undefined {
  const code = (e as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

export function errorText(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
