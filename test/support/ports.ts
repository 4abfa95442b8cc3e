/** A port for a program that is told its port before it has it, or comes back to the one that it had. */
import { freePorts } from '../../src/demo/slurm/ports.ts';
import { realRandom } from '../../src/platform/real.ts';

/** Free on `host` just now, and none that the kernel gives to whoever asks for any, as other tests do all the time. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const [port = 0] = await freePorts(realRandom, 1, host);
  return port;
}
