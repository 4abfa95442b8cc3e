/** Every captured request of the original's client is understood, and answered as the original did: names, structure, kinds of values. Its broker of contexts is not here; requests for it are refused. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readXml } from '../../src/soap/xml/read.ts';
import { exchanges, unanswered, type Exchange } from './captured.ts';
import { openWsrfSite, type WsrfSite } from './door.ts';
import { PacedNodes } from './paced-nodes.ts';
import { shapeOf, type Shape } from './shape.ts';

const KEY = /<(?:\w+:)?(Workspace(?:|Group|Ensemble)Key|SubscriptionKey)\b[^>]*>([^<]+)</g;

/** Where the original is not followed, and why: docs/protocols/wsrf.md, "What differs". */
const DIFFERENT: Readonly<Record<string, (ours: Shape, theirs: Shape) => void>> = {
  // ensembleDone acts: what began has times.
  'ens2-create-last-1': (ours) => expect(find(ours, 'ActualInstantiationTime')).toHaveLength(1),
};

/** States that the original showed and this service passes by: the reason of each is in docs/protocols/wsrf.md, "What differs". */
const PASSED_BY: Readonly<Record<string, string>> = {
  // Shut down and made an image in one step, which is Propagated from its beginning.
  'http shutdown-save-2': 'Propagated', 'tls shutdown-save-3': 'Propagated',
};
const statesIn = (text: string): string[] => [...text.matchAll(/>(\w+)<\/(?:\w+:)?state>/g)].map((m) => m[1] ?? '');
const runOf = (name: string): string => name.replace(/-\d+$/, '');

const find = (shape: Shape, local: string): Shape[] => [...(shape.name.endsWith(`}${local}`) ? [shape] : []), ...shape.children.flatMap((c) => find(c, local))];

describe.each(['http', 'tls'] as const)('conversations over %s', (set) => {
  let wsrf: WsrfSite;
  /** Keys of the original → ours. */
  const keys = new Map<string, string>();
  const all = exchanges(set);
  let nodes: PacedNodes;
  beforeAll(async () => {
    wsrf = await openWsrfSite({ config: { wsrf: { allowed_consumers: ['127.0.0.0/8', '::1'] } } });
    nodes = new PacedNodes(wsrf.site);
  });
  afterAll(() => wsrf?.close());

  /** What the client of this exchange's run sees next of a state. */
  const seenNext = ({ name }: Exchange): string | undefined =>
    all.slice(all.findIndex((e) => e.name === name) + 1).filter((e) => runOf(e.name) === runOf(name)).flatMap((e) => statesIn(e.response))[0];

  /** Nodes have come as far as the original's had when it answered this. */
  async function pace(exchange: Exchange): Promise<void> {
    const [state, ...others] = statesIn(exchange.response);
    const key = /WorkspaceKey\b[^>]*>(\d+)</.exec(exchange.request)?.[1];
    if (state !== undefined && others.length === 0 && key !== undefined) await nodes.bring(Number(keys.get(key)), PASSED_BY[`${set} ${exchange.name}`] ?? state);
    if (/<create\b|<shutdownWorkspace\b/.test(exchange.request)) nodes.hold(seenNext(exchange));
  }

  async function replay({ path, soapAction, request, response, status }: Exchange): Promise<{ ours: Shape; theirs: Shape; text: string }> {
    const body = request.replace(KEY, (whole, _, key: string) => whole.replace(`>${key}<`, `>${keys.get(key) ?? key}<`));
    const sent = body.replace(/(RequestedTerminationTime>)[^<]+/, `$1${new Date(Date.now() + 600_000).toISOString()}`);
    const answer = await fetch(new URL(path, wsrf.base), { method: 'POST', body: sent, headers: { 'content-type': 'text/xml; charset=utf-8', 'soapaction': soapAction } });
    const text = await answer.text();
    expect(answer.status, text).toBe(status);
    const theirKeys = [...response.matchAll(KEY)].map((m) => m[2] ?? '');
    [...text.matchAll(KEY)].forEach((m, i) => keys.set(theirKeys[i] ?? '', m[2] ?? ''));
    await wsrf.site.settled();
    return { ours: shapeOf(readXml(Buffer.from(text))), theirs: shapeOf(readXml(Buffer.from(response))), text };
  }

  it.each(unanswered(set).map((e) => [e.name, e] as const))('%s: there is no broker, and the client hears what to do', async (_, { path, soapAction, request }) => {
    const answer = await fetch(new URL(path, wsrf.base), { method: 'POST', body: request, headers: { 'content-type': 'text/xml; charset=utf-8', 'soapaction': soapAction } });
    const text = await answer.text();
    expect(answer.status).toBe(500);
    expect(text).toMatch(/<faultcode>soapenv:Client<\/faultcode><faultstring>This site has no context broker\..*user data.*<\/faultstring>/s);
    const id = /MessageID[^>]*>([^<]+)/.exec(request)?.[1] ?? 'none';
    expect(/RelatesTo[^>]*>([^<]+)/.exec(text)?.[1]).toBe(id);
  });

  it.each(all.map((e) => [e.name, e] as const))('%s', async (name, exchange) => {
    await pace(exchange);
    const { ours, theirs, text } = await replay(exchange);
    const different = DIFFERENT[name];
    if (different !== undefined) return different(ours, theirs);
    expect(ours).toEqual(theirs);
    const passedBy = PASSED_BY[`${set} ${name}`];
    expect(statesIn(text)).toEqual(passedBy === undefined ? statesIn(exchange.response) : [passedBy]);
  });
});
