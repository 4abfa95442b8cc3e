/**
 * Words to a guest and its user. They go to the end of the console's file, where the user reads them with the guest's own
 * output, and to the guest through a virtio serial port. QEMU keeps what comes through the port until the guest reads it, as
 * long as the connection stands.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { FILES } from './launch.ts';

const MAX_TEXT = 500;

/** One line that shows on any terminal. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_TEXT);

export async function showOnConsole(dir: string, text: string): Promise<void> {
  const file = await open(join(dir, FILES.console), constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    await file.write(`\r\n*** ${printable(text)}\r\n`);
  } finally {
    await file.close();
  }
}

export class NoticePort {
  readonly #dir: string;
  #socket: Socket | null = null;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Resolves when QEMU has the line. Rejects when there is no such port: the VM is an older agent's. */
  async say(text: string): Promise<void> {
    const socket = this.#socket ?? (await this.#connect());
    await new Promise<void>((resolve, reject) => socket.write(`${printable(text)}\n`, (e) => (e == null ? resolve() : reject(e))));
  }

  close(): void {
    this.#socket?.destroy();
  }

  async #connect(): Promise<Socket> {
    // Through the open directory the path is short enough (107 bytes, unix(7)).
    const dir = await open(this.#dir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const socket = createConnection({ path: `/proc/self/fd/${dir.fd}/${FILES.notices}` });
      await new Promise<void>((resolve, reject) => void socket.once('connect', resolve).once('error', reject));
      socket.unref();
      this.#socket = socket;
      socket.on('error', () => undefined).on('close', () => { this.#socket = null; });
      return socket;
    } finally {
      await dir.close();
    }
  }
}
