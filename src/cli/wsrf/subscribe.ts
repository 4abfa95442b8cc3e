/** `nimbus wsrf subscribe`: listens, has itself told of a workspace's states, and shows them until one is reached. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Command } from 'commander';
import { endpointValue } from '../../soap/message/addressing.ts';
import { readXml } from '../../soap/xml/read.ts';
import { elementsOf, textOf, type XmlElement } from '../../soap/xml/tree.ts';
import { hostAndPort } from '../../platform/http/address.ts';
import { createBodyReader } from '../../platform/http/body.ts';
import { CURRENT_STATE, RESOURCE_TERMINATION, SERVICES, SIMPLE_TOPICS } from '../../wsrf/wire/names.ts';
import type { SubscriptionListView } from '../../manager/admin-types.ts';
import { envOf, type CliDeps, type Env } from '../env.ts';
import { UsageError } from '../exit.ts';
import { time } from '../format.ts';
import { printable } from '../io.ts';
import { open, withCredentials, type WsrfOptions } from './options.ts';
import { called, eprOf, readEpr } from './services.ts';

const MAX_MESSAGE = 1024 * 1024;

interface SubscribeOptions extends WsrfOptions {
  readonly listen: string;
  readonly address?: string;
  readonly until: string;
}

export function addWsrfSubscribe(wsrf: Command, deps: CliDeps): void {
  withCredentials(wsrf.command('subscribe <epr>'))
    .description('be told what happens to a workspace')
    .requiredOption('--listen <host:port>', 'where the service can reach this machine')
    .option('--address <url>', 'the address to give, where it is not that of --listen')
    .option('--until <state>', 'stop when this state is reached', 'Cancelled')
    .addHelpText('after', '\nExamples:\n  nimbus wsrf subscribe vm.epr --listen desk.example.org:0 --until Running')
    .action(async (epr: string, o: SubscribeOptions, command: Command) => {
      const { env, grid } = open(command, deps);
      const to = readEpr(epr);
      const ear = await listen(o);
      try {
        const subscriptions = [];
        for (const topic of [CURRENT_STATE, RESOURCE_TERMINATION]) {
          const answer = await grid.call(SERVICES.workspace, 'Subscribe', to, {
            ConsumerReference: endpointValue({ address: ear.address, properties: [] }), TopicExpression: { '$': topic, '@Dialect': SIMPLE_TOPICS },
          });
          subscriptions.push(eprOf(answer['SubscriptionReference']));
        }
        if (!env.json) env.io.err(`subscribed to ${called(to)}; waiting at ${ear.address}\n`);
        await shown(env, ear, o.until);
        // What has ended has taken its subscriptions with it.
        for (const s of subscriptions) await grid.call(SERVICES.subscriptions, 'Destroy', s, {}).catch(() => undefined);
      } finally {
        ear.server.closeAllConnections();
        ear.server.close();
      }
    });
}

interface Ear {
  readonly server: Server;
  readonly address: string;
  /** Takes what comes. */
  heard: (message: XmlElement) => void;
}

async function listen(o: SubscribeOptions): Promise<Ear> {
  const { host, port } = hostAndPort(o.listen);
  if (host === '' || port === '') throw new UsageError(`"${o.listen}" is no place to listen; write HOST:PORT`);
  const bodies = createBodyReader(MAX_MESSAGE);
  const server = createServer((request, response) => {
    bodies.read(request).then((bytes) => {
      ear.heard(readXml(bytes));
      response.writeHead(202).end();
    }).catch(() => response.writeHead(400).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (e) => reject(new UsageError(`cannot listen at ${o.listen}: ${e.message}`)));
    server.listen(Number(port), host, resolve);
  });
  const ear: Ear = { server, address: o.address ?? `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}/`, heard: () => undefined };
  return ear;
}

function shown(env: Env, ear: Ear, until: string): Promise<void> {
  return new Promise((resolve) => {
    ear.heard = (message) => {
      for (const state of statesIn(message)) {
        env.say({ at: env.clock.now(), state }, `${new Date(env.clock.now()).toISOString()} ${state}`);
        if (state === until) resolve();
      }
      if (find(message, 'TerminationNotification').length > 0) resolve();
    };
  });
}

const find = (e: XmlElement, local: string): XmlElement[] => elementsOf(e).flatMap((c) => (c.local === local ? [c] : find(c, local)));
const statesIn = (message: XmlElement): string[] => find(message, 'NewValue').flatMap((v) => find(v, 'state')).map((s) => textOf(s).trim());

/** Of everyone, as this site's administrators see them. */
export function addWsrfSubscriptions(wsrf: Command, deps: CliDeps): void {
  wsrf.command('subscriptions')
    .description('who is told of what at this site, and who could not be')
    .addHelpText('after', '\nExample:\n  nimbus wsrf subscriptions')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const all = await env.client.get<SubscriptionListView[]>('/v1/subscriptions');
      env.table(all, [
        { title: 'LEASE', value: (s) => s.lease },
        { title: 'USER', value: (s) => s.user, shrinks: true },
        { title: 'TOPIC', value: (s) => s.topic },
        { title: 'CONSUMER', value: (s) => s.consumer, shrinks: true },
        { title: 'STATE', value: (s) => (s.attempts > 0 ? `failing (${s.attempts})` : s.paused ? 'paused' : 'ok') },
        { title: 'TOLD', value: (s) => s.delivered },
      ], 'There are no subscriptions.');
      if (!env.json) for (const s of all) if (s.attempts > 0 && s.lastError !== null) env.io.err(`${s.lease}: failing since ${time(s.failingSince)}: ${printable(s.lastError)}\n`);
    });
}
