/** A byte stream to a node's agent, however it is made. */
import type { Readable, Writable } from 'node:stream';

export interface AgentLink {
  /** What the agent says. */
  readonly readable: Readable;
  /** What the agent hears. */
  readonly writable: Writable;
  /** Resolves once, when the link is over, with a sentence on why. Never rejects. */
  readonly ended: Promise<string>;
  /** What the agent said last beside the protocol, for the sentence on why it says nothing else. */
  lastWords?(): string | undefined;
  /** Lets go of the link at once, without waiting for the far side; `broken`: the agent misbehaved or is silent. Repeatable. */
  close(how: 'orderly' | 'broken'): void;
}

export interface Transport {
  /** Who is called, for messages: `root@node7:22`. */
  readonly describe: string;
  /** What it means when `open` takes too long, where more can be said than that it did. */
  readonly lateReason?: string;
  /** Rejects with an Error whose message says why; gives up, and leaves nothing open, when `signal` fires. */
  open(signal: AbortSignal): Promise<AgentLink>;
  /** For links that the far side begins: calls `wake` whenever `open` would succeed at once. Returns how to stop that. */
  onReady?(wake: () => void): () => void;
}
