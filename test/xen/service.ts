/**
 * What a pilot reports to: takes every notification, acknowledges it, and remembers it for the test. A pilot that must go early
 * is told at once that nobody needs its VMs any more. Who may report what is proven where the service's own door is tested.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageState, Notification, NotificationAnswer, PilotMessage } from '../../src/pilot/protocol.ts';

export interface Service {
  readonly port: number;
  /** Resolves with a slot's message of this state, at once if it came already. @throws Error when none comes in time */
  heard(slot: string, state: MessageState, timeoutMs?: number): Promise<PilotMessage>;
  close(): Promise<void>;
}

export async function startService(): Promise<Service> {
  const messages: { slot: string; message: PilotMessage }[] = [];
  const listeners = new Set<() => void>();
  const server = createServer((request, response) => {
    void body(request).then((text) => {
      const notification = JSON.parse(text) as Notification;
      messages.push(...notification.messages.map((message) => ({ slot: notification.slot, message })));
      const leaving = notification.messages.some(({ state }) => state === 'early-unreserving');
      const answer: NotificationAnswer = { ack: notification.messages.map(({ id }) => id), at: Date.now(), do: leaving ? 'release' : 'stay' };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
      for (const listener of listeners) listener();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard(slot, state, timeoutMs = 60_000) {
      const found = (): PilotMessage | undefined => messages.find((m) => m.slot === slot && m.message.state === state)?.message;
      return new Promise((resolve, reject) => {
        const late = new AbortController();
        const look = (): void => {
          const message = found();
          if (message === undefined) return;
          listeners.delete(look);
          late.abort();
          resolve(message);
        };
        listeners.add(look);
        delay(timeoutMs, undefined, { signal: late.signal }).then(() => {
          listeners.delete(look);
          const said = messages.filter((m) => m.slot === slot).map((m) => `${m.message.state} ${m.message.code} ${m.message.text ?? ''}`);
          reject(new Error(`${slot} has not said "${state}" within ${timeoutMs} ms; it said: ${said.join('; ') || 'nothing'}`));
        }, () => undefined);
        look();
      });
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
