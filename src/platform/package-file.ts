/** Files that come with the program, found from the bundle (`dist/`) and from the sources (`src/platform/`) alike. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** `path` from the package's root. */
export function packageFile(path: string): string {
  const root = ['..', '../..'].find((up) => existsSync(new URL(`${up}/package.json`, import.meta.url)));
  return fileURLToPath(new URL(`${root ?? '..'}/${path}`, import.meta.url));
}
