/** A site's own service: asked by POST with JSON, answers JSON. */
import { readFile } from 'node:fs/promises';
import type { Context } from '../context.ts';
import { errorText } from '../errors.ts';
import { MOST_UNDER_WAY, OutsideFailed, tooMany, type Outside } from './types.ts';

const MOST_ANSWER_BYTES = 64 * 1024;

export interface CallbackOptions {
  readonly url: string;
  /** Its content is sent as bearer token; read for each request, so that it can be replaced. Empty = none. */
  readonly tokenFile: string;
  readonly deadlineMs: number;
}

export function createHttpCallback(ctx: Context, options: CallbackOptions): Outside {
  const { url, tokenFile, deadlineMs } = options;
  let underWay = 0;

  async function post(input: unknown, signal: AbortSignal): Promise<unknown> {
    const token = tokenFile === '' ? undefined : (await readFile(tokenFile, 'utf8')).trim();
    const response = await fetch(url, {
      method: 'POST', redirect: 'error', signal, body: JSON.stringify(input),
      headers: { 'content-type': 'application/json', accept: 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    });
    const text = await bodyOf(response);
    if (!response.ok) throw new OutsideFailed(`it answered with status ${response.status}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  return {
    async ask(input) {
      if (underWay >= MOST_UNDER_WAY) throw tooMany();
      underWay += 1;
      const abort = new AbortController();
      const timer = ctx.clock.after(deadlineMs, () => abort.abort(), true);
      try {
        return await post(input, abort.signal);
      } catch (e) {
        if (abort.signal.aborted) throw new OutsideFailed(`it did not answer within ${deadlineMs} ms`);
        throw e instanceof OutsideFailed ? e : new OutsideFailed(e instanceof SyntaxError ? 'its answer is no JSON' : causeText(e));
      } finally {
        timer.cancel();
        underWay -= 1;
      }
    },
    close: () => Promise.resolve(),
  };
}

/** `fetch failed` says nothing; its cause does. */
const causeText = (e: unknown): string => errorText(e instanceof Error && e.cause !== undefined ? e.cause : e);

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += (chunk as Uint8Array).length;
    if (size > MOST_ANSWER_BYTES) throw new OutsideFailed(`its answer is larger than ${MOST_ANSWER_BYTES} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks).toString();
}
