/** Directories and files that the service writes to: whether it can, told before it is needed. */
import { accessSync, closeSync, constants, existsSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { reasonText, StartError } from './errors.ts';
import { makeDirectory } from './make-directory.ts';

/** Undefined when it is a directory that this process can write to, or could make. */
export function whyNoDirectory(path: string): string | undefined {
  try {
    if (existsSync(path) && !statSync(path).isDirectory()) return 'it is no directory';
    tryWriting(nearest(path));
    return undefined;
  } catch (e) {
    return reasonText(e);
  }
}

/** Undefined when it is a file that this process may write to, or could be made. */
export function whyNoFile(path: string): string | undefined {
  if (!existsSync(path)) return whyNoDirectory(dirname(path));
  try {
    if (statSync(path).isDirectory()) return 'it is a directory';
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (e) {
    return reasonText(e);
  }
}

/** The directory itself, or what is there of the way to it. */
const nearest = (path: string): string => (existsSync(path) || dirname(path) === path ? path : nearest(dirname(path)));

/** Some file systems let nobody make anything, whatever their modes say. Nothing stays of the attempt. */
function tryWriting(directory: string): void {
  const file = join(directory, `.nimbus-${process.pid}`);
  closeSync(openSync(file, 'w', 0o600));
  rmSync(file);
}

/** Has the directory be there. @throws StartError */
export function openDirectory(key: string, path: string, mode: number): void {
  try {
    makeDirectory(path, mode);
    tryWriting(path);
  } catch (e) {
    throw new StartError(`${key} = "${path}" cannot be written to: ${reasonText(e)}`, { cause: e });
  }
}

/** Has the file be there, so that what is written to it later is not lost without a word. @throws StartError */
export function openFile(key: string, path: string, mode: number): void {
  try {
    makeDirectory(dirname(path), 0o755);
    closeSync(openSync(path, 'a', mode));
  } catch (e) {
    throw new StartError(`${key} = "${path}" cannot be written to: ${reasonText(e)}`, { cause: e });
  }
}
