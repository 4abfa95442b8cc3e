/** An agent inside another program, as a pilot has it. */
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock, sleep } from '../../../src/control/agent/clock.ts';
import { DEFAULTS } from '../../../src/control/agent/config.ts';
import type { SimulatedConfig } from '../../../src/control/agent/config.ts';
import { openAgent } from '../../../src/control/agent/open.ts';
import type { Agent, AgentOptions } from '../../../src/control/agent/open.ts';
import type { AgentLine, AgentRequest, Done, VmEvent, VmInfo } from '../../../src/control/protocol.ts';
import { encodeLine, lineReader } from '../../../src/control/wire.ts';
import { codeOf, leaseOp, makeImage, opId, scratch, start, vmOf } from './rig.ts';

let tmp: ReturnType<typeof scratch>;
let server: Server;
const agents: Agent[] = [];
beforeEach(async () => {
  tmp = scratch();
  server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((a) => a.stop('the test is over')));
  await new Promise((resolve) => server.close(resolve));
  tmp.remove();
});

async function agentWith(options: Partial<AgentOptions> = {}, simulated: Partial<SimulatedConfig> = {}): Promise<Agent> {
  const agent = await openAgent({
    stateDir: join(tmp.dir, 'control'), driver: 'simulated', clock: realClock, persistent: true, inJob: true,
    config: { ...DEFAULTS, simulated: { ...DEFAULTS.simulated, startMs: 0, stopMs: 0, powerDownMs: 0, ...simulated } }, ...options,
  });
  agents.push(agent);
  return agent;
}

/** Two ends of a real connection. */
async function socketPair(): Promise<[Socket, Socket]> {
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  return [near, await accepted];
}

class Service {
  readonly lines: AgentLine[] = [];
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Set<() => void>();

  constructor(socket: Socket) {
    this.#socket = socket;
    const read = lineReader((line) => {
      this.lines.push(JSON.parse(line) as AgentLine);
      for (const look of [...this.#waiting]) look();
    }, () => undefined);
    socket.on('data', read).on('end', () => socket.end()).on('error', () => undefined);
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.write(encodeLine({ hello: { program: 'nimbus', version: '1.0.0', protocol: 2 } }));
  }

  async ask(request: AgentRequest): Promise<Done> {
    this.send(request);
    return this.done(request.id);
  }

  send(request: AgentRequest): void {
    this.#socket.write(encodeLine({ do: [request] }));
  }

  done(id: string): Promise<Done> {
    return this.#when(() => this.lines.flatMap((l) => ('done' in l ? [l.done].flat() : [])).find((d) => d.id === id));
  }

  exits(count: number): Promise<VmEvent[]> {
    return this.#when(() => {
      const events = this.lines.flatMap((l) => ('event' in l ? [l.event] : []));
      return events.length >= count ? events : undefined;
    });
  }

  #when<T>(pick: () => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const look = (): void => {
        const picked = pick();
        if (picked === undefined) return void this.#waiting.add(look);
        this.#waiting.delete(look);
        resolve(picked);
      };
      look();
    });
  }

  leave(): Promise<void> {
    this.#socket.end();
    return this.ended;
  }
}

async function serviceOf(agent: Agent): Promise<Service> {
  const [near, far] = await socketPair();
  agent.serve({ input: far, output: far, name: 'channel' });
  return new Service(near);
}

const lease = (n: number): string => `i-${String(n).padStart(17, '0')}`;
const release = (id = opId()): AgentRequest => ({ op: 'release', id, deadlineMs: 60_000, why: 'the last lease has ended' });
const list = async (service: Service): Promise<readonly VmInfo[]> => {
  const done = await service.ask({ op: 'list', id: opId(), deadlineMs: 60_000 });
  if (!done.ok || !('vms' in done.result)) throw new Error('no list');
  return done.result.vms;
};
const graceful = (n: number, graceMs: number, deadlineMs = 60_000, generation = 2): AgentRequest =>
  ({ ...leaseOp('remove', lease(n), generation, opId(), deadlineMs), graceMs }) as AgentRequest;

describe('an agent in a pilot', () => {
  it('lives on when nobody is connected, and keeps its VMs', async () => {
    const agent = await agentWith();
    const first = await serviceOf(agent);
    expect(codeOf(await first.ask(start(lease(1), 1, makeImage(tmp.dir))))).toBe('ok');
    await first.leave();
    const second = await serviceOf(agent);
    expect(await list(second)).toMatchObject([{ lease: lease(1), state: 'running' }]);
    expect(agent.vms()).toBe(1);
    await second.leave();
  });

  it('without `persistent` it ends with its last connection', async () => {
    const agent = await agentWith({ persistent: false });
    await (await serviceOf(agent)).leave();
    await agent.over;
  });

  it('a second agent of the directory is refused, with a sentence', async () => {
    await agentWith();
    await expect(agentWith()).rejects.toThrow(/another agent holds .*control; end it first/);
  });

  it('answers a release before it tells of it, once however often it is asked', async () => {
    const reasons: string[] = [];
    let tell: () => void = () => undefined;
    const told = new Promise<void>((resolve) => { tell = resolve; });
    const agent = await agentWith({ onRelease: (why) => { reasons.push(why); tell(); } });
    const service = await serviceOf(agent);
    const request = release();
    for (let i = 0; i < 3; i++) service.send(request);
    expect(await service.ask(request)).toMatchObject({ ok: true, result: { releasing: true } });
    expect(await service.ask(release())).toMatchObject({ ok: true, result: { releasing: true } });
    await told;
    await list(service);
    expect(reasons).toEqual(['the last lease has ended']);
    await service.leave();
  });

  it('a pilot that ends at once when it is released is still heard', async () => {
    const agent = await agentWith({ onRelease: () => void agent.stop('released') });
    const service = await serviceOf(agent);
    service.send(release('op-release'));
    await service.ended;
    const kinds = service.lines.map((line) => Object.keys(line)[0]);
    expect(kinds.indexOf('done')).toBeGreaterThan(0);
    expect(kinds.indexOf('bye')).toBeGreaterThan(kinds.indexOf('done'));
  });

  it('an agent that has its node for good refuses a release', async () => {
    const service = await serviceOf(await agentWith());
    expect(await service.ask(release())).toMatchObject({ ok: false, error: { code: 'BadRequest', message: expect.stringContaining('not borrowed') as string } });
    await service.leave();
  });

  it('tells every guest, whose exits are then told to the service', async () => {
    const agent = await agentWith({}, { powerDownMs: 20 });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await Promise.all([1, 2, 3].map((n) => service.ask(start(lease(n), 1, image))));
    await service.ask(leaseOp('pause', lease(3), 2));
    await agent.notice('this node ends in 8 s');
    const events = await service.exits(2);
    expect(events.map((e) => e.lease).sort()).toEqual([lease(1), lease(2)]);
    const done = await service.ask({ op: 'console', id: opId(), lease: lease(1), maxBytes: 4096, deadlineMs: 60_000 });
    expect(done.ok && 'console' in done.result ? Buffer.from(done.result.console, 'base64').toString() : '').toContain('this node ends in 8 s');
    expect(agent.vms()).toBe(1); // the paused one: a guest that stands still hears nothing
    await service.leave();
  });

  it('a guest that cannot be told has its button pressed all the same, and costs no other anything', async () => {
    const faults = [{ lease: lease(1), op: 'notice' as const }, { lease: lease(2), op: 'powerDown' as const }];
    const agent = await agentWith({}, { faults });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await Promise.all([1, 2, 3].map((n) => service.ask(start(lease(n), 1, image))));
    await agent.notice('this node ends');
    expect((await service.exits(2)).map((e) => e.lease).sort()).toEqual([lease(1), lease(3)]);
    const log = readFileSync(join(tmp.dir, 'control', 'agent.log'), 'utf8');
    expect(log.split('could not be told').length - 1).toBe(2);
    // It cannot be asked within a removal's grace either, which ends it then.
    expect(vmOf(await service.ask(graceful(2, 3_000_000, 3_600_000))).state).toBe('removed');
    await service.leave();
  });
});

describe('a saved disk', () => {
  const pieces = async (service: Service, name: string, maxBytes: number): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for (let offset = 0, total = 1; offset < total; offset += maxBytes) {
      const done = await service.ask({ op: 'read-saved', id: opId(), lease: name, offset, maxBytes, deadlineMs: 60_000 });
      if (!done.ok || !('saved' in done.result)) throw new Error(codeOf(done));
      total = done.result.totalBytes;
      parts.push(Buffer.from(done.result.saved, 'base64'));
    }
    return Buffer.concat(parts);
  };

  it('can be read in pieces until the lease is removed, and counts as something to wait for', async () => {
    const agent = await agentWith({}, { powerDownMs: 10 });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await service.ask(start(lease(1), 1, image));
    expect(vmOf(await service.ask({ ...leaseOp('save', lease(1), 2), graceMs: 5_000 } as AgentRequest))).toMatchObject({ state: 'saved', pid: null });
    expect(agent.vms()).toBe(1);
    expect(await pieces(service, lease(1), 1000)).toEqual(image.data);
    expect(vmOf(await service.ask(leaseOp('save', lease(1), 2))).state).toBe('saved');
    expect(service.lines.filter((line) => 'event' in line)).toEqual([]);
    await service.ask(leaseOp('remove', lease(1), 3));
    expect(agent.vms()).toBe(0);
    await expect(pieces(service, lease(1), 1000)).rejects.toThrow('WrongState');
    await service.leave();
  });

  it('is there of a VM that has powered itself off, and of no other lease', async () => {
    const agent = await agentWith({}, { powerDownMs: 0 });
    const service = await serviceOf(agent);
    await service.ask(start(lease(1), 1, makeImage(tmp.dir)));
    await agent.notice('this node ends');
    await service.exits(1);
    expect(vmOf(await service.ask(leaseOp('save', lease(1), 2))).state).toBe('saved');
    expect(codeOf(await service.ask(leaseOp('save', lease(2), 2)))).toBe('NoSuchVm');
    await expect(pieces(service, '../control', 1000)).rejects.toThrow('BadRequest');
    await service.leave();
  });

  it('that cannot be made is no reason to wait; a removal does not wait for one that is being made', async () => {
    const agent = await agentWith({}, { faults: [{ lease: lease(1), op: 'save' }, { lease: lease(2), op: 'save', hang: true }] });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await Promise.all([1, 2].map((n) => service.ask(start(lease(n), 1, image))));
    expect(codeOf(await service.ask(leaseOp('save', lease(1), 2)))).toBe('DriverFailed');
    expect(agent.vms()).toBe(1);
    const hangs = service.ask({ ...leaseOp('save', lease(2), 2), deadlineMs: 3_600_000 } as AgentRequest);
    expect(vmOf(await service.ask(leaseOp('remove', lease(2), 3))).state).toBe('removed');
    expect(codeOf(await hangs)).toBe('StaleGeneration');
    expect(agent.vms()).toBe(0);
    await service.leave();
  });
});

describe('the end of all VMs', () => {
  it('gives guests their grace, keeps generations, and starts nothing any more', async () => {
    const agent = await agentWith({}, { powerDownMs: 10 });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await Promise.all([1, 2].map((n) => service.ask(start(lease(n), 5, image))));
    await service.ask({ ...start(lease(3), 5, image), op: 'propagate' } as AgentRequest);
    expect([...await agent.endAll(30_000)].sort()).toEqual([lease(1), lease(2)]);
    expect(agent.vms()).toBe(0);
    expect(await list(service)).toEqual([]);
    const log = readFileSync(join(tmp.dir, 'control', 'agent.log'), 'utf8');
    expect(log.split('guest has powered down').length - 1).toBe(2);
    // The service may not know yet: its removals are answered, under the generations that it has.
    expect(codeOf(await service.ask(leaseOp('remove', lease(1), 4)))).toBe('StaleGeneration');
    expect(vmOf(await service.ask(leaseOp('remove', lease(1), 5)))).toMatchObject({ state: 'removed', generation: 5 });
    expect(codeOf(await service.ask(start(lease(4), 1, image)))).toBe('Retiring');
    expect(await agent.endAll(0)).toEqual([]);
    await service.leave();
  });

  it('a second call without grace cuts the grace of the first, and of removals under way', async () => {
    const agent = await agentWith({}, { powerDownMs: null });
    const service = await serviceOf(agent);
    const image = makeImage(tmp.dir);
    await Promise.all([1, 2].map((n) => service.ask(start(lease(n), 1, image))));
    const removal = service.ask(graceful(1, 3_000_000, 3_600_000));
    const first = agent.endAll(3_000_000);
    expect([...await agent.endAll(0)].sort()).toEqual([lease(1), lease(2)]);
    expect(await first).toHaveLength(2);
    expect(vmOf(await removal).state).toBe('removed');
    expect(agent.vms()).toBe(0);
    await service.leave();
  });

  it('breaks off a start that hangs', async () => {
    const agent = await agentWith({}, { faults: [{ lease: lease(1), op: 'start', hang: true }] });
    const service = await serviceOf(agent);
    const begun = start(lease(1), 1, makeImage(tmp.dir), opId(), 3_600_000);
    service.send(begun);
    while (agent.vms() === 0) await sleep(realClock, 1);
    expect(await agent.endAll(0)).toEqual([lease(1)]);
    expect(codeOf(await service.done(begun.id))).toBe('Retiring');
    expect(agent.vms()).toBe(0);
    await service.leave();
  });

  it('a VM that cannot be ended is counted on', async () => {
    const agent = await agentWith({}, { faults: [{ lease: lease(1), op: 'end' }] });
    const service = await serviceOf(agent);
    await Promise.all([1, 2].map((n) => service.ask(start(lease(n), 1, makeImage(tmp.dir)))));
    expect(await agent.endAll(0)).toHaveLength(2);
    expect(agent.vms()).toBe(1);
    await service.leave();
  });

  it('whatever is under way, it leaves no VM and answers every request', async () => {
    const op = fc.constantFrom('start', 'pause', 'resume', 'reboot', 'remove', 'graceful' as const);
    const step = fc.record({ op, n: fc.integer({ min: 1, max: 3 }) });
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.constantFrom(0, 5), fc.nat(3), async (steps, graceMs, head) => {
      const agent = await agentWith({ stateDir: join(tmp.dir, opId()) }, { powerDownMs: 1, startMs: 1, stopMs: 1 });
      const service = await serviceOf(agent);
      const image = makeImage(tmp.dir);
      const requests = steps.map(({ op: kind, n }, i): AgentRequest => {
        if (kind === 'start') return start(lease(n), i, image);
        return kind === 'graceful' ? graceful(n, 20, 60_000, i) : leaseOp(kind, lease(n), i);
      });
      for (const request of requests) service.send(request);
      const first = requests[head];
      if (first !== undefined) await service.done(first.id);
      await agent.endAll(graceMs);
      for (const request of requests) await service.done(request.id);
      expect(agent.vms()).toBe(0);
      expect(await list(service)).toEqual([]);
      await service.leave();
    }), { numRuns: 40 });
  });
});

describe('a removal with grace', () => {
  it('ends the VM at its end when the guest does not obey, well before the deadline', async () => {
    const agent = await agentWith({}, { powerDownMs: null });
    const service = await serviceOf(agent);
    await service.ask(start(lease(1), 1, makeImage(tmp.dir)));
    expect(vmOf(await service.ask(graceful(1, 5))).state).toBe('removed');
    // More grace than the deadline allows is cut, and the answer is still the VM's end.
    await service.ask(start(lease(2), 1, makeImage(tmp.dir)));
    expect(vmOf(await service.ask(graceful(2, 3_600_000, 4_000))).state).toBe('removed');
    expect(service.lines.filter((l) => 'event' in l)).toEqual([]);
    await service.leave();
  });

  it('a later removal without grace does not wait for it', async () => {
    const agent = await agentWith({}, { powerDownMs: null });
    const service = await serviceOf(agent);
    await service.ask(start(lease(1), 1, makeImage(tmp.dir)));
    const slow = service.ask(graceful(1, 3_000_000, 3_600_000));
    expect(vmOf(await service.ask(leaseOp('remove', lease(1), 3))).state).toBe('removed');
    expect(codeOf(await slow)).toBe('ok');
    await service.leave();
  });
});
