/**
 * A door to PostgreSQL that counts what goes through, so that a test can end the other program at a certain statement: just
 * before the server hears of it, or just after the server has done it and before that is answered. It needs nothing of the
 * program: a statement is what is closed by Sync or a simple Query (PostgreSQL manual, "Frontend/Backend Protocol").
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import type { DbAddress } from '../../src/store/db.ts';

export interface PgProxy {
  /** As `database.url` names it. */
  readonly url: string;
  /** Statements so far. */
  readonly count: number;
  /** Called once for each statement, with its number; what it does, it does before the statement goes on. */
  before: (n: number) => void;
  after: (n: number) => void;
  close(): Promise<void>;
}

const [SYNC, QUERY, READY] = ['S', 'Q', 'Z'].map((c) => c.charCodeAt(0));

export async function startPgProxy({ host = '', port, user = '', password = '', database = '' }: DbAddress): Promise<PgProxy> {
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(join(host, `.s.PGSQL.${port}`));
    const waiting: number[] = [];
    let greeted = false;
    const keep = (s: Socket): void => {
      sockets.add(s);
      s.on('error', () => undefined).once('close', () => {
        sockets.delete(s);
        client.destroy();
        upstream.destroy();
      });
    };
    keep(client);
    keep(upstream);
    // The first message of a client has no type.
    client.on('data', messages(() => greeted, (type, bytes) => {
      greeted = true;
      if (type === SYNC || type === QUERY) {
        count += 1;
        waiting.push(count);
        proxy.before(count);
      }
      if (!client.destroyed) upstream.write(bytes);
    }));
    upstream.on('data', messages(() => true, (type, bytes) => {
      if (type === READY) {
        const n = waiting.shift();
        if (n !== undefined) proxy.after(n);
      }
      client.write(bytes);
    }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: PgProxy & { before: PgProxy['before'] } = {
    url: `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${(server.address() as AddressInfo).port}/${database}`,
    get count() { return count; },
    before: () => undefined,
    after: () => undefined,
    async close() {
      for (const s of sockets) s.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

/** Cuts a stream into whole messages: a type, unless `typed` says that there is none yet, and a length that counts itself. */
function messages(typed: () => boolean, each: (type: number | undefined, bytes: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const head = typed() ? 1 : 0;
      if (rest.length < head + 4) return;
      const length = head + rest.readUInt32BE(head);
      if (rest.length < length) return;
      const message = rest.subarray(0, length);
      rest = rest.subarray(length);
      each(head === 1 ? message[0] : undefined, message);
    }
  };
}
