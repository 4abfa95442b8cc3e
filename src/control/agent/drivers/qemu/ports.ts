/** Ports of the node that lead to guests. Two agents of one machine share a range: what counts is who can bind. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { AgentFault } from '../../fault.ts';

export class ForwardPorts {
  readonly #taken = new Set<number>();
  readonly #range: readonly [number, number];
  readonly #address: string;

  constructor(range: readonly [number, number], address: string) {
    this.#range = range;
    this.#address = address;
  }

  /**
   * A port that nobody listens on, kept for the caller until `release`. The search begins at a place that depends on the
   * lease, so that agents seldom try the same port and a guest's port is not soon another's.
   */
  async take(lease: string): Promise<number> {
    const [from, to] = this.#range;
    const count = to - from + 1;
    const start = createHash('sha256').update(lease).digest().readUInt32BE(0) % count;
    for (let i = 0; i < count; i++) {
      const port = from + ((start + i) % count);
      if (this.#taken.has(port)) continue;
      this.#taken.add(port);
      if (await canBind(port, this.#address)) return port;
      this.#taken.delete(port);
    }
    throw new AgentFault('NoPort', `every port from ${from} to ${to} is in use on ${this.#address}`);
  }

  /** Declares the port of a VM that was found running. */
  hold(port: number): void {
    this.#taken.add(port);
  }

  release(port: number): void {
    this.#taken.delete(port);
  }
}

function canBind(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
