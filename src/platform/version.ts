/** The program's version: set by the bundler, read from package.json when run from source (tests). */
import { readFileSync } from 'node:fs';

declare const __NIMBUS_VERSION__: string | undefined;

export const VERSION: string =
  typeof __NIMBUS_VERSION__ === 'string' ? __NIMBUS_VERSION__ : readVersion();

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
