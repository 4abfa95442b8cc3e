/** A node and a service for each test, and the ways to a pilot that is reserved, to a VM on it, to a Xen host. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { Agent, killAgents } from '../../control/agent/program.ts';
import { makeImage, start as startVm } from '../../control/agent/rig.ts';
import { FakeXl } from '../memory/fake-xl.ts';
import { Node, SLOT, bundlePilot } from './pilot.ts';
import type { Pilot, Sections } from './pilot.ts';
import { Service } from './service.ts';

export let node: Node;
export let service: Service;

/** For the top of a test file. */
export function usePilots(): void {
  const scratch = mkdtempSync(join(tmpdir(), 'pilot-bundle-'));
  let program = '';
  beforeAll(async () => { program = await bundlePilot(scratch); });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  beforeEach(async () => {
    node = new Node(program);
    service = new Service(SLOT);
    await service.start();
  });
  afterEach(async () => {
    await killAgents();
    await node.remove();
    await service.stop();
  });
}

/** A pilot whose reservation the service knows. */
export async function reserved(options: Parameters<Node['reserve']>[0] = {}): Promise<Pilot> {
  const pilot = node.reserve({ credentials: service.credentials, ...options });
  await Promise.race([service.message('reserved'), pilot.says('the service knows')]);
  await pilot.says('the service knows');
  return pilot;
}

/** A simulated VM, started through the agent's socket as the service does over SSH. */
export async function withVm(lease = 'i-1'): Promise<Agent> {
  const agent = new Agent(node.program, ['control', '--state', node.agentDir(), '-p', node.config()]);
  await agent.open();
  const done = await agent.ask(startVm(lease, 1, makeImage(node.root)));
  expect(done).toMatchObject({ ok: true });
  return agent;
}

/** A Xen host of 2007 MB for dom0, and the sections that lead to it. */
export function xen(state: ConstructorParameters<typeof FakeXl>[1] = {}): { xl: FakeXl; config: Sections } {
  const xl = new FakeXl(node.root, state);
  return { xl, config: { memory: { mechanism: 'xl' }, xen: { xm: xl.program, xmsudo: 'no', minmem: 256 } } };
}

/** Polls the fixture's list of calls: another process writes it. */
export async function waitForCall(xl: FakeXl, call: string, pilot: Pilot): Promise<void> {
  let over = false;
  void pilot.ended.then(() => { over = true; });
  while (!xl.calls().includes(call)) {
    if (over) throw new Error(`the pilot ended before "${call}": ${pilot.output}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
