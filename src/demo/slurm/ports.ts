/** Ports that nobody has now, and that no outgoing connection takes while a daemon of ours is being restarted. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { errorCode, StartError } from '../../platform/errors.ts';
import type { Random } from '../../platform/context.ts';

const LOWEST = 10_000;
const TRIES = 2_000;

/** Below what the kernel gives to outgoing connections (ip_local_port_range, ip-sysctl). */
function highest(): number {
  const low = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  return low > LOWEST + TRIES ? low - 1 : 65_535;
}

/** All are held until the last is found, so that they differ; the kernel is asked by binding. @throws StartError */
export async function freePorts(random: Random, count: number, host = '127.0.0.1'): Promise<number[]> {
  const room = highest() - LOWEST + 1;
  const held: Server[] = [];
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < count; tries++) {
      if (tries === TRIES) throw new StartError(`no ${count} free ports were found on ${host} from ${LOWEST} up`);
      const port = LOWEST + (random.bytes(4).readUInt32BE() % room);
      const server = await hold(host, port);
      if (server === undefined) continue;
      held.push(server);
      ports.push(port);
    }
  } finally {
    await Promise.all(held.map((server) => new Promise((done) => server.close(done))));
  }
  return ports;
}

async function hold(host: string, port: number): Promise<Server | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return server;
  } catch (e) {
    if (errorCode(e) !== 'EADDRINUSE') throw e;
    return undefined;
  }
}

/** Whether a connection to this port of 127.0.0.1 is taken. */
export async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
