/** A port for a program that is told its port before it has it, or comes back to the one that it had. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below those that the kernel gives to whoever asks for any (Linux: from 32768 on): what is let go of here is nobody's meanwhile, though other
 * tests start servers all the time.
 */
const [FROM, TO] = [12_000, 20_000];
const ATTEMPTS = 100;

/** Free on `host` just now; another caller finds another one. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(FROM, TO);
    if (await isFree(host, port)) return port;
  }
  throw new Error(`${ATTEMPTS} ports of ${host} were tried, and none is free`);
}

async function isFree(host: string, port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, host), 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
