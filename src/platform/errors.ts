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

/** Codes of the system that administrators meet, in words. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'another program has this address and port',
  EADDRNOTAVAIL: 'this machine has no such address',
  ECONNREFUSED: 'nothing answers there',
  EEXIST: 'a file of that name is in the way',
  EISDIR: 'it is a directory',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on the disk',
  ENOTDIR: 'a part of the path is no directory',
  ENOTFOUND: 'no such host',
  EROFS: 'the file system is read-only',
};

/** The error in words where the system has only a code; else its message. */
export function reasonText(e: unknown): string {
  const code = errorCode(e) ?? '';
  return WORDS[code] ?? (errorText(e) || code || 'unknown error');
}

/** A part of the start: its failure says what was tried, for the administrator. @throws StartError */
export async function startStep<T>(what: string, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (e) {
    throw e instanceof StartError ? e : new StartError(`${what}: ${reasonText(e)}`, { cause: e });
  }
}
