/**
 * The pilot as a process, mechanism `none`: from its start to ready to report, beside an empty Node program (target: that plus
 * 100 ms); from SIGTERM to its exit with everything given back, VMs gone already (target 300 ms; the original: 4.4 s). Then what
 * each call of `xl` costs beyond the toolstack's own time (the original added up to 200 ms each).
 * Medians of 15, alternating, in one run.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer as createHttp } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Notification, PilotMessage } from '../src/pilot/protocol.ts';
import { median } from './support/service.ts';

const ROUNDS = 15;
const START_EXTRA_MS = 100;
const TERM_MS = 300;
const XL_MS = 50;
const PILOT = join(process.cwd(), 'dist', 'workspace-pilot.cjs');
const root = mkdtempSync(join(tmpdir(), 'bench-pilot-'));
const empty = join(root, 'empty.cjs');
writeFileSync(empty, '');

/** Acknowledges everything: the pilot's own time is measured, not the service's. */
const heard: Array<(n: PilotMessage) => void> = [];
const service = createHttp((request, response) => {
  let body = '';
  request.on('data', (chunk: Buffer) => { body += chunk.toString(); });
  request.on('end', () => {
    const { messages } = JSON.parse(body) as Notification;
    response.end(JSON.stringify({ ack: messages.map((m) => m.id), at: Date.now(), do: 'stay' }));
    for (const m of messages) for (const h of heard) h(m);
  });
});
service.listen(0, '127.0.0.1');
await once(service, 'listening');
const { port } = service.address() as AddressInfo;
const credentials = join(root, 'credentials.json');
writeFileSync(credentials, JSON.stringify({ slot: 'sl-000000000001', contacts: [`http://127.0.0.1:${port}`], secret: '0'.repeat(32), nonce: '0'.repeat(32), channel: false }), { mode: 0o600 });

function config(name: string, lines: string): string {
  const file = join(root, `${name}.conf`);
  writeFileSync(file, `${lines}[systempaths]\nsudo: /usr/bin/sudo\n[other]\nearlywaitratio: 0.5\nlockfile: ${root}/lock\nstatedir: ${root}/state\ndriver: simulated\n`);
  return file;
}

const message = (state: PilotMessage['state']): Promise<PilotMessage> => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`the pilot did not say ${state}`)), 20_000);
  const listen = (m: PilotMessage): void => {
    if (m.state !== state) return;
    clearTimeout(timer);
    heard.splice(heard.indexOf(listen), 1);
    resolve(m);
  };
  heard.push(listen);
});

function pilot(conf: string, memory: number): ChildProcess {
  return spawn(process.execPath, [PILOT, '--reserveslot', '--memory', String(memory), '--duration', '600', '--graceperiod', '8', '--slotid', 'sl-000000000001', '--configpath', conf, '--credentials', credentials], { stdio: 'ignore' });
}

interface Life { readonly startMs: number; readonly termMs: number; readonly reduceMs: number; readonly restoreMs: number }

async function life(conf: string, memory: number): Promise<Life> {
  const began = Date.now();
  const reserved = message('reserved');
  const child = pilot(conf, memory);
  const m = await reserved;
  if (m.code !== 0) throw new Error(m.text ?? `code ${m.code}`);
  const restored = message('restored');
  const asked = Date.now();
  child.kill('SIGTERM');
  await once(child, 'exit');
  const termMs = Date.now() - asked;
  const stamps = { ...m.stamps, ...(await restored).stamps };
  const between = (from: keyof typeof stamps, to: keyof typeof stamps): number => (stamps[to] ?? NaN) - (stamps[from] ?? NaN);
  return { startMs: (m.stamps?.notify ?? NaN) - began, termMs, reduceMs: between('reduce-begun', 'reduced'), restoreMs: between('restore-begun', 'restored') };
}

function emptyProgram(): number {
  const began = performance.now();
  spawnSync(process.execPath, [empty]);
  return performance.now() - began;
}

/** A toolstack that takes its time and does what it says at once, with a record of its calls. */
function toolstack(): { xl: string; calls(): number } {
  const [xl, state, calls] = [join(root, 'xl'), join(root, 'dom0'), join(root, 'calls')];
  writeFileSync(state, '2048');
  writeFileSync(calls, '');
  writeFileSync(xl, `#!/bin/sh
echo "$*" >> ${calls}
sleep ${XL_MS / 1000}
case "$1" in
  mem-set) echo "$3" | tr -cd 0-9 > ${state} ;;
  list) echo "Name ID Mem VCPUs State Time(s)"; echo "Domain-0 0 $(cat ${state}) 1 r----- 1.0" ;;
  info) echo "total_memory : 4096"; echo "free_memory : $((4096 - $(cat ${state})))" ;;
esac
`);
  chmodSync(xl, 0o755);
  return { xl, calls: () => readFileSync(calls, 'utf8').split('\n').length - 1 };
}

try {
  const none = config('none', '[memory]\nmechanism: none\n');
  const [starts, terms, empties]: number[][] = [[], [], []];
  for (let i = 0; i < ROUNDS; i += 1) {
    empties?.push(emptyProgram());
    const l = await life(none, 128);
    starts?.push(l.startMs);
    terms?.push(l.termMs);
  }
  const [start, term, bare] = [median(starts ?? []), median(terms ?? []), median(empties ?? [])];
  console.log(`pilot-program: start to ready to report ${start.toFixed(0)} ms, an empty Node program ${bare.toFixed(0)} ms: ${(start - bare).toFixed(0)} ms more (target ${START_EXTRA_MS} ms)`);
  console.log(`pilot-program: SIGTERM to exit with everything given back ${term.toFixed(0)} ms (target ${TERM_MS} ms)`);
  if (start - bare > START_EXTRA_MS || term > TERM_MS) process.exitCode = 1;

  const stack = toolstack();
  const own: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    const began = performance.now();
    spawnSync(stack.xl, ['list']);
    own.push(performance.now() - began);
  }
  const xen = config('xen', `[memory]\nmechanism: xl\n[xen]\nxmsudo: no\nxm: ${stack.xl}\nminmem: 256\n`);
  const perCall: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    const before = stack.calls();
    const l = await life(xen, 512);
    const calls = stack.calls() - before;
    perCall.push((l.reduceMs + l.restoreMs) / calls);
  }
  console.log(`pilot-program: reduce and restore with xl: ${median(perCall).toFixed(0)} ms a call, the toolstack by itself ${median(own).toFixed(0)} ms`);
} finally {
  service.close();
  rmSync(root, { recursive: true, force: true });
}
