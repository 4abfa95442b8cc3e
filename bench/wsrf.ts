/**
 * Grid services over mutual TLS on connections that stay: the whole properties of a workspace per core of the service (target
 * 3,000/s), durable creates at 32 clients (300/s), a change's way to its consumer at 100 changes a second (100 ms, median),
 * memory with 10,000 workspaces and 1,000 subscriptions (300 MB). All with the simulated VMM, fsync on.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { globusUser, gridService } from '../test/grid/globus.ts';
import { createBody, keyBlock, keysIn, QUERY_ALL } from '../test/support/grid-requests.ts';
import { LIFETIME, NOTIFICATION, SIMPLE_TOPICS, TYPES, WORKSPACE } from '../src/wsrf/wire/names.ts';
import { median, simulatedNodes, startBenchService, type BenchService } from './support/service.ts';

const QUERIES = 4_000;
const ROUNDS = 5;
const CONNECTIONS = [1, 8, 32];
const CLIENTS = 32;
const SECONDS = Number(process.argv[2] ?? 20);
const WORKSPACES = 10_000;
const SUBSCRIPTIONS = 1_000;
const CHANGED = 100;

const dir = mkdtempSync(join(tmpdir(), 'bench-wsrf-'));
const alice = globusUser(dir);
const grid = gridService(dir, alice);
const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS, cert: readFileSync(alice.certificate), key: readFileSync(alice.key), ca: readFileSync(join(dir, 'ca.pem')) });

const service: BenchService = await startBenchService(`[lease]
max_per_user = 1000000
${simulatedNodes(2, 200_000)}
${grid}`);
await service.admin('user', 'dn', 'bench', '--add', alice.dn);
const { wsrf: base } = JSON.parse(readFileSync(join(service.root, 'ready.json'), 'utf8')) as { wsrf: string };

function ask(name: string, body: string, header = ''): Promise<string> {
  const envelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>${header}</s:Header><s:Body>${body}</s:Body></s:Envelope>`;
  return new Promise((resolve, reject) => {
    const sent = request(base + name, { method: 'POST', agent, headers: { 'content-type': 'text/xml', 'content-length': Buffer.byteLength(envelope) } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; });
      response.on('error', reject).on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text.slice(0, 2_000)))));
    });
    sent.on('error', reject).end(envelope);
  });
}

const create = async (count: number): Promise<string[]> => keysIn(await ask('WorkspaceFactoryService', createBody({ image: 'nimbus-guest', count })));

async function queries(connections: number): Promise<void> {
  const [key = ''] = await create(1);
  const round = async (): Promise<number> => {
    const before = service.cpuMs();
    let left = QUERIES;
    await Promise.all(Array.from({ length: connections }, async () => {
      while (left-- > 0) await ask('WorkspaceService', QUERY_ALL, keyBlock(key));
    }));
    return (service.cpuMs() - before) / QUERIES;
  };
  await round();
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) rounds.push(await round());
  const ms = median(rounds);
  console.log(`properties    ${String(connections).padStart(2)} connections: ${ms.toFixed(3)} ms of CPU a query, ${(1000 / ms).toFixed(0)} queries/s per core`);
}

async function creates(): Promise<void> {
  const cpu = service.cpuMs();
  const until = performance.now() + SECONDS * 1000;
  const latencies: number[] = [];
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (performance.now() < until) {
      const begun = performance.now();
      await create(1);
      latencies.push(performance.now() - begun);
    }
  }));
  const seconds = SECONDS + (performance.now() - until) / 1000;
  console.log(`creates       ${(latencies.length / seconds).toFixed(0)} creates/s at ${CLIENTS} clients, p50 ${median(latencies).toFixed(1)} ms; service CPU ${((service.cpuMs() - cpu) / latencies.length).toFixed(2)} ms per create`);
}

async function notifications(): Promise<void> {
  const waiting = new Map<string, (at: number) => void>();
  const consumer = createServer((req, res) => {
    let text = '';
    req.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => {
      const at = performance.now();
      for (const key of keysIn(text)) waiting.get(key)?.(at);
      res.writeHead(202).end();
    });
  });
  await new Promise<void>((resolve) => consumer.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(consumer.address() as AddressInfo).port}/`;
  const keys = await create(CHANGED);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  for (const key of keys) {
    await ask('WorkspaceService', `<Subscribe xmlns="${NOTIFICATION}"><ConsumerReference><a:Address xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing">${address}</a:Address></ConsumerReference>
      <TopicExpression Dialect="${SIMPLE_TOPICS}" xmlns:t="${TYPES}">t:currentState</TopicExpression></Subscribe>`, keyBlock(key));
  }
  const cpu = service.cpuMs();
  const took: number[] = [];
  const change = async (key: string, body: string): Promise<void> => {
    const begun = performance.now();
    const told = new Promise<number>((resolve) => waiting.set(key, resolve));
    await ask('WorkspaceService', body, keyBlock(key));
    took.push(await told - begun);
  };
  const begun = performance.now();
  for (const body of [`<shutdownWorkspace xmlns="${WORKSPACE}"><t:shutdownType xmlns:t="${TYPES}">Pause</t:shutdownType></shutdownWorkspace>`, `<startWorkspace xmlns="${WORKSPACE}"/>`]) {
    const all: Array<Promise<void>> = [];
    for (const key of keys) {
      all.push(change(key, body));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(all);
  }
  took.sort((a, b) => a - b);
  const seconds = (performance.now() - begun) / 1000;
  console.log(`notification  ${(took.length / seconds).toFixed(0)} changes/s, from the request for a change to the consumer: median ${median(took).toFixed(0)} ms, p99 ${(took[Math.floor(took.length * 0.99) - 1] ?? NaN).toFixed(0)} ms; service CPU ${((service.cpuMs() - cpu) / took.length).toFixed(2)} ms per change`);
  consumer.closeAllConnections();
  consumer.close();
}

async function memory(): Promise<void> {
  const live = await service.admin<unknown[]>('lease', 'list');
  let keys: string[] = [];
  for (let left = WORKSPACES - live.length; left > 0; left -= 100) keys = [...keys, ...await create(Math.min(100, left))];
  for (const key of keys.slice(0, SUBSCRIPTIONS - CHANGED)) {
    await ask('WorkspaceService', `<Subscribe xmlns="${NOTIFICATION}"><ConsumerReference><a:Address xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing">http://127.0.0.1:9/</a:Address></ConsumerReference>
      <TopicExpression Dialect="${SIMPLE_TOPICS}" xmlns:t="${LIFETIME}">t:ResourceTermination</TopicExpression></Subscribe>`, keyBlock(key));
  }
  console.log(`memory        ${service.rssMb().toFixed(0)} MiB with ${Math.max(WORKSPACES, live.length)} workspaces and ${SUBSCRIPTIONS} subscriptions`);
}

try {
  for (const connections of CONNECTIONS) await queries(connections);
  await notifications();
  await creates();
  await memory();
} finally {
  agent.destroy();
  await service.stop();
  rmSync(dir, { recursive: true, force: true });
}
