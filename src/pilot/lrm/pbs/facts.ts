/** What the attributes of server and queue say (Torque: "Server attributes", "Queue attributes"; OpenPBS: pbs_queue_attributes(7B)). Pure. */
import { parseBlocks } from './blocks.ts';

export interface PbsFacts {
  /** s between SIGTERM and SIGKILL of a deleted job, where it is set. */
  readonly killDelayS: number | null;
  /** Ended jobs stay in the list. */
  readonly remembers: boolean;
}

/** A queue's own setting wins over the server's. @param queue '' = the server's default queue */
export function factsOf(serverText: string, queueText: string, queue: string): PbsFacts {
  const [server] = parseBlocks(serverText, 'Server');
  const ofServer = server?.attributes ?? new Map<string, string>();
  const name = queue === '' ? ofServer.get('default_queue') : queue;
  const ofQueue = parseBlocks(queueText, 'Queue').find((q) => q.name === name)?.attributes ?? new Map<string, string>();
  const seconds = (attribute: string): number | null => {
    const value = ofQueue.get(attribute) ?? ofServer.get(attribute) ?? '';
    return /^\d{1,9}$/.test(value) ? Number(value) : null;
  };
  return { killDelayS: seconds('kill_delay'), remembers: (seconds('keep_completed') ?? 0) > 0 };
}
