/** The file that tells scripts of a service that answers: there while it does, whole or not at all. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { startStep } from './errors.ts';

export interface ReadyFile {
  /** @throws StartError */
  write(content: unknown): Promise<void>;
  /** Leaves it when another service has written its own meanwhile. */
  remove(): void;
}

/** Removes what a service that was killed left, so that nobody takes it for this one's. @throws StartError */
export async function openReadyFile(path: string): Promise<ReadyFile> {
  const at = `the ready file ${path} cannot be written`;
  await startStep(at, () => rmSync(path, { force: true }));
  let written = '';
  return {
    write: (content) => startStep(at, () => {
      const draft = `${path}.${process.pid}`;
      written = `${JSON.stringify(content)}\n`;
      try {
        writeFileSync(draft, written);
        renameSync(draft, path);
      } finally {
        rmSync(draft, { force: true });
      }
    }),
    remove() {
      if (written === '') return;
      try {
        if (readFileSync(path, 'utf8') === written) rmSync(path);
      } catch {
        // Gone, or no longer ours to read: either way it is not there for us to take away.
      }
    },
  };
}
