/**
 * Listening sockets of a simulated machine, as agent and pilot use them for locks: a name belongs to a process until it closes it or
 * dies. Who connects hears the holder's line and, in time, its end. Agents that relay to one another are not simulated: whoever
 * reaches a machine speaks with the agent that holds the directory.
 */
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Process } from '../world/process.ts';

interface Listener {
  readonly process: Process;
  readonly onConnection: (socket: PassThrough) => void;
  readonly sockets: Set<PassThrough>;
}

export class Names {
  readonly taken = new Map<string, Listener>();
}

const failed = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });
/** After the caller has said whom to tell. */
const soon = (fn: () => void): void => void Promise.resolve().then(fn);

class SimServer extends EventEmitter {
  maxConnections = 0;
  #name: string | undefined;
  #listener: Listener | undefined;

  constructor(private readonly names: Names, private readonly process: Process, private readonly onConnection: (socket: PassThrough) => void) {
    super();
  }

  listen(name: string, listening: () => void): this {
    if (this.names.taken.has(name)) {
      soon(() => this.emit('error', failed('EADDRINUSE')));
      return this;
    }
    const listener: Listener = { process: this.process, onConnection: this.onConnection, sockets: new Set() };
    this.#name = name;
    this.#listener = listener;
    this.names.taken.set(name, listener);
    this.process.atEnd(() => this.#free());
    soon(listening);
    return this;
  }

  unref(): this {
    return this;
  }

  close(done?: () => void): this {
    if (this.#name !== undefined && this.names.taken.get(this.#name) === this.#listener) this.names.taken.delete(this.#name);
    if (done !== undefined) soon(done);
    return this;
  }

  #free(): void {
    this.close();
    for (const socket of this.#listener?.sockets ?? []) socket.destroy();
  }
}

/** `node:net` of one process. */
export function net(names: Names, process: Process): object {
  return {
    createServer: (...args: unknown[]) => new SimServer(names, process, args.find((a) => typeof a === 'function') as (socket: PassThrough) => void),
    connect(to: string | { path: string }) {
      const listener = names.taken.get(typeof to === 'string' ? to : to.path);
      const socket = Object.assign(new PassThrough(), { unref: () => socket });
      if (listener === undefined) soon(() => socket.destroy(failed('ECONNREFUSED')));
      else {
        listener.sockets.add(socket);
        soon(() => {
          socket.emit('connect');
          listener.onConnection(socket);
        });
      }
      return socket;
    },
    isIPv4: (text: string) => /^\d+\.\d+\.\d+\.\d+$/.test(text),
  };
}
