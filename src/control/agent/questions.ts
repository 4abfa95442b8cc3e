/** What can be asked of an agent without changing a VM: info, list, console, a saved disk, status, and release. */
import { availableParallelism, totalmem } from 'node:os';
import { statfs } from 'node:fs/promises';
import type { DoneResult, NodeStatus } from '../protocol.ts';
import type { Clock } from './clock.ts';
import type { Driver } from './driver.ts';
import type { Question } from './executor.ts';
import { AgentFault } from './fault.ts';
import { infoOf } from './records.ts';
import type { Records } from './records.ts';
import type { Vms } from './vms.ts';

const MIB = 1024 * 1024;

export interface QuestionParts {
  readonly clock: Clock;
  readonly driver: Driver;
  readonly records: Records;
  readonly vms: Vms;
  readonly stateDir: string;
  readonly cacheMb: number;
  /** Gives the node back; absent where the agent has it for good. Must return at once: the answer is sent first. */
  readonly release?: (why: string) => void;
}

export async function answerQuestion(parts: QuestionParts, question: Question): Promise<DoneResult> {
  switch (question.op) {
    case 'info':
      return { vm: infoOf(existing(parts, question.lease)) };
    case 'list':
      return { vms: parts.records.live().map(infoOf) };
    case 'console': {
      if (existing(parts, question.lease).state === 'removed') throw noSuchVm(question.lease);
      const { bytes, truncated } = await parts.driver.console(parts.vms.place(question.lease), question.maxBytes);
      return { console: bytes.toString('base64'), truncated, at: parts.clock.now() };
    }
    case 'read-saved': {
      const { bytes, totalBytes } = await parts.vms.readSaved(question.lease, question.offset, question.maxBytes);
      return { saved: bytes.toString('base64'), totalBytes };
    }
    case 'status':
      return { status: await nodeStatus(parts) };
    case 'release': {
      const { release } = parts;
      if (release === undefined) throw new AgentFault('BadRequest', 'this agent runs in no pilot: its node is not borrowed and cannot be given back');
      release(question.why);
      return { releasing: true };
    }
  }
}

function existing(parts: QuestionParts, lease: string): Parameters<typeof infoOf>[0] {
  const record = parts.records.get(lease);
  if (record === undefined) throw noSuchVm(lease);
  return record;
}

const noSuchVm = (lease: string): AgentFault => new AgentFault('NoSuchVm', `no VM ${lease} on this node`);

async function nodeStatus({ driver, records, stateDir, cacheMb }: QuestionParts): Promise<NodeStatus> {
  const [facts, disk] = await Promise.all([driver.status(), statfs(stateDir)]);
  return {
    driver: driver.name,
    accelerator: facts.accelerator,
    qemuVersion: facts.qemuVersion,
    memoryMb: Math.floor(totalmem() / MIB),
    cores: availableParallelism(),
    diskFreeMb: Math.floor((disk.bavail * disk.bsize) / MIB),
    cacheMb,
    vms: records.live().filter((r) => r.state === 'running' || r.state === 'paused').length,
    missing: [...facts.missing, ...records.problems],
  };
}
