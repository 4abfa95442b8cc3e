/**
 * What goes out on one connection. Everything that becomes ready in one turn of the event loop leaves in one write:
 * acknowledgements in one line, answers in as few lines as MAX_LINE allows. A phase whose operation has ended in the same
 * turn is not sent, because the answer carries its stamp.
 */
import { MAX_LINE } from '../protocol.ts';
import type { AgentLine, AgentPhase, Done, Protocol } from '../protocol.ts';
import type { Reply } from './operation.ts';

/** The envelope of a group of answers, generously. */
const ENVELOPE = 64;

export class Outbox implements Reply {
  readonly #send: (text: string) => void;
  readonly #protocol: Protocol;
  #acks: string[] = [];
  #progress: { readonly id: string; readonly phase: AgentPhase; readonly at: number }[] = [];
  #dones: Done[] = [];
  #lines: string[] = [];
  #scheduled = false;

  constructor(protocol: Protocol, send: (text: string) => void) {
    this.#protocol = protocol;
    this.#send = send;
  }

  ack(id: string): void {
    this.#acks.push(id);
    this.#schedule();
  }

  progress(id: string, phase: AgentPhase, at: number): void {
    this.#progress.push({ id, phase, at });
    this.#schedule();
  }

  done(done: Done): void {
    this.#dones.push(done);
    this.#schedule();
  }

  line(line: AgentLine): void {
    this.#lines.push(JSON.stringify(line));
    this.#schedule();
  }

  flush(): void {
    this.#scheduled = false;
    const ended = new Set(this.#dones.map((d) => d.id));
    const lines = [
      ...(this.#acks.length > 0 ? [JSON.stringify({ ack: this.#acks })] : []),
      ...this.#progress.filter((p) => !ended.has(p.id)).map((progress) => JSON.stringify({ progress })),
      ...this.#doneLines(),
      ...this.#lines,
    ];
    this.#acks = [];
    this.#progress = [];
    this.#dones = [];
    this.#lines = [];
    if (lines.length > 0) this.#send(`${lines.join('\n')}\n`);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  #doneLines(): string[] {
    const texts = this.#dones.map(doneText);
    if (this.#protocol === 1) return texts.map((t) => `{"done":${t}}`);
    const lines: string[] = [];
    let group: string[] = [];
    let bytes = 0;
    const end = (): void => {
      if (group.length > 0) lines.push(`{"done":[${group.join(',')}]}`);
      group = [];
      bytes = 0;
    };
    for (const t of texts) {
      const size = Buffer.byteLength(t) + 1;
      if (bytes + size > MAX_LINE - ENVELOPE) end();
      group.push(t);
      bytes += size;
    }
    end();
    return lines;
  }
}

function doneText(done: Done): string {
  const text = JSON.stringify(done);
  if (Buffer.byteLength(text) <= MAX_LINE - ENVELOPE) return text;
  return JSON.stringify({ id: done.id, ok: false, error: { code: 'Internal', message: 'the answer is longer than a line may be' }, stamps: done.stamps });
}
