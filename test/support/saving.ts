/** A repository of a test's own, and what fetches saved disks into it. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createImageRepository, type ImageRepository } from '../../src/images/repository.ts';
import { createSaver, type Saver, type SaverDeps } from '../../src/workers/saving.ts';

export interface TestSaving {
  readonly save: Saver;
  readonly repository: ImageRepository;
  /** Files below the repository's directory. */
  files(): string[];
  remove(): void;
}

/** `during` wraps the taking of each disk, for tests that count what is under way. */
export function testSaving(deps: Omit<SaverDeps, 'repository' | 'userMb'> & { readonly userMb?: number }, during: <T>(work: () => Promise<T>) => Promise<T> = (work) => work()): TestSaving {
  const directory = mkdtempSync(join(tmpdir(), 'nimbus-saving-'));
  const repository = createImageRepository({ ...deps, directory });
  return {
    repository,
    save: createSaver({ userMb: 1024, ...deps, repository: { diskBytes: (image) => repository.diskBytes(image), take: (...args) => during(() => repository.take(...args)) } }),
    files: () => readdirSync(directory, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => f.name),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
