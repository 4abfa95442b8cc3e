/**
 * HTTP between pilots and the service, as requests and answers that may be lost, late, doubled, or come again much later: whoever
 * listened on the line may send what he heard once more, or forge what he did not.
 */
import { EventEmitter } from 'node:events';
import { IncomingMessage } from 'node:http';
import type { Answer } from '../../../src/pilot/door/answers.ts';
import type { HttpAnswer, Web } from '../node/http.ts';
import type { Violation } from './invariants.ts';
import { streamEnds } from './network.ts';
import { never, type Process } from './process.ts';
import type { Dice } from './random.ts';
import type { Service } from './service.ts';
import type { Site } from './site.ts';

interface Posted {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const REMEMBERED = 30;
const refusal = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

export class SimulatedWeb {
  readonly #heard: Posted[] = [];
  readonly broken: Violation[] = [];
  readonly #dice: Dice;

  constructor(private readonly site: Site) {
    this.#dice = site.dice.fork('web');
  }

  /** The web as one process sees it. */
  of(process: Process): Web {
    return {
      post: (url, headers, body) => this.#post(process, { path: url.pathname, headers, body }),
      upgrade: (url, { headers }) => this.#upgrade(process, url, headers),
    };
  }

  /** What a pilot has said comes again, as it was, or with another body, or under another name. */
  replay(): void {
    const dice = this.#dice;
    if (this.#heard.length === 0) return;
    const was = dice.pick(this.#heard);
    const forged = dice.pick<Posted>([
      was, { ...was, body: was.body.replace('"code":0', '"code":4') }, { ...was, headers: { ...was.headers, authorization: (was.headers['authorization'] ?? '').replace(/nc=\d+/, 'nc=00000fff') } },
      { ...was, body: dice.pick(this.#heard).body },
    ]);
    this.site.trace.add('forged', forged.body);
    const service = this.#service('forger');
    if (service === undefined) return;
    this.#ask(service, forged).then(({ status, body }) => {
      // The same once more may be the first that arrives.
      const own = this.#heard.some((h) => h.body === forged.body && h.headers['authorization'] === forged.headers['authorization']);
      if (status === 200 && !own) this.broken.push({ says: 'what is forged is refused', of: `${forged.body} was answered ${body}` });
    }, () => undefined);
  }

  /** Whom it reaches does not depend on what was said before: signs of life that are leapt over shift nothing. */
  #service(teller: string): Service | undefined {
    const [first, ...others] = this.site.ready();
    return first === undefined || others.length === 0 ? first : this.#dice.fork(`${this.site.time.now} ${teller}`).pick([first, ...others]);
  }

  async #post(process: Process, posted: Posted): Promise<HttpAnswer> {
    const { network, weather } = this.site;
    const dice = this.#dice;
    this.#heard.push(posted);
    if (this.#heard.length > REMEMBERED) this.#heard.shift();
    await this.#way(process);
    if (dice.chance(weather.lost) || !this.#reachable(process)) return never();
    const service = this.#service(process.name);
    if (service === undefined) throw refusal();
    network.messages += 1;
    network.onMessage(process, service.process);
    if (dice.chance(weather.doubled)) void this.#ask(service, posted).catch(() => undefined);
    const answer = await this.#ask(service, posted);
    await this.#way(process);
    if (dice.chance(weather.lost) || !this.#reachable(process)) return never();
    return answer;
  }

  async #ask(service: Service, { path, headers, body }: Posted): Promise<HttpAnswer> {
    if (service.process.pausedUntil > this.site.time.now) await this.#until(service.process.pausedUntil);
    if (!service.process.alive) throw refusal();
    const answer = await service.door.notify({ method: 'POST', target: path, authorization: headers['authorization'], body: Buffer.from(body), peer: () => 'sim' });
    this.site.trace.add('is told', String(answer.status), answer.body);
    return { status: answer.status, headers: headersOf(answer), body: answer.body };
  }

  #upgrade(process: Process, url: URL, headers: Readonly<Record<string, string>>): EventEmitter {
    const request = Object.assign(new EventEmitter(), { destroyed: false, end: () => void this.#open(process, url, headers, request), destroy: (e?: Error) => {
      request.destroyed = true;
      if (e !== undefined) request.emit('error', e);
    } });
    return request;
  }

  async #open(process: Process, url: URL, headers: Readonly<Record<string, string>>, request: EventEmitter & { readonly destroyed: boolean }): Promise<void> {
    await this.#way(process);
    if (request.destroyed || !process.alive || !this.#reachable(process)) return;
    const service = this.#service(process.name);
    if (service === undefined) return void request.emit('error', refusal());
    const [near, far] = streamEnds(this.site.network, process, service.process);
    near.once('data', (head: Buffer) => {
      if (request.destroyed) return void near.destroy();
      const end = head.indexOf('\r\n\r\n');
      const status = Number(head.toString('latin1', 9, 12));
      // As Node's client does: whoever listens next has it flow again.
      (near as { readableFlowing: boolean | null }).readableFlowing = null;
      if (status === 101) return void request.emit('upgrade', {}, near, head.subarray(end + 4));
      const answer = Object.assign(new IncomingMessage(near as never), { statusCode: status });
      request.emit('response', answer);
      near.destroy();
    });
    near.once('close', () => { if (!request.destroyed && near.bytesRead === 0) request.emit('error', refusal()); });
    const message = { method: 'GET', url: url.pathname, headers: Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v])), socket: far };
    service.door.upgrade(message as never, far);
  }

  #reachable(process: Process): boolean {
    return process.alive && this.site.network.reachable(process) && !this.site.network.cutOff.has('host');
  }

  #way(process: Process): Promise<void> {
    const ms = this.site.network.latency();
    return ms === 0 ? Promise.resolve() : new Promise((resolve) => process.clock.after(ms, resolve));
  }

  #until(at: number): Promise<void> {
    return new Promise((resolve) => this.site.time.after(at - this.site.time.now, resolve));
  }
}

function headersOf({ headers }: Answer): Record<string, string> {
  return Object.fromEntries(headers.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), headers[i + 1] ?? '']] : [])));
}
