/**
 * `workspace-control helper`: the only program of the agent that needs root. One JSON request on standard input, one JSON
 * answer on standard output. What it may do stands in a file of root's (policy.ts); for whom, sudo tells.
 */
import { statSync } from 'node:fs';
import { isExecutable } from '../drivers/qemu/programs.ts';
import { realClock } from '../clock.ts';
import { AgentFault, asAgentError } from '../fault.ts';
import { DirectHost, isDirectory, noMemPath } from './direct-host.ts';
import type { Owner } from './files.ts';
import { POLICY_FILE, readPolicy } from './policy.ts';
import type { HostPolicy } from './policy.ts';
import { MAX_REQUEST, readHelperRequest } from './request.ts';
import type { HelperAnswer, HelperRequest } from './request.ts';
import { isMapped } from './uids.ts';

export interface HelperWorld {
  readonly uid: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input: AsyncIterable<Buffer | string>;
  readonly write: (line: string) => void;
}

/** Returns the exit status: 0 done, 1 refused or failed. */
export async function runHelper(world: HelperWorld): Promise<0 | 1> {
  let answer: HelperAnswer;
  try {
    if (world.uid !== 0) throw new AgentFault('NotPermitted', 'the helper must be started by root, through sudo');
    const agent = callerOf(world.env);
    const policy = readPolicy(policyFile(world.env));
    answer = await serve(readHelperRequest(await readAll(world.input)), policy, agent);
  } catch (e) {
    answer = { ok: false, error: asAgentError(e) };
  }
  world.write(`${JSON.stringify(answer)}\n`);
  return answer.ok ? 0 : 1;
}

async function serve(request: HelperRequest, policy: HostPolicy, agent: Owner): Promise<HelperAnswer> {
  // What QEMU makes in `run` is the VM's uid's and the agent's group's: the agent has to connect to the QMP socket.
  process.umask(0o007);
  const host = new DirectHost({ clock: realClock, policy, agent, isRoot: true });
  switch (request.op) {
    case 'vm-start': return { ok: true, ...(await host.start(request.place, request.launch)) };
    case 'vm-end': {
      await host.end(request.place, request.pid);
      return { ok: true };
    }
    case 'check': return { ok: true, lacks: lacksOf(policy) };
  }
}

/** Sentences on what the policy asks for and the node does not give. */
export function lacksOf(policy: HostPolicy): string[] {
  const lacks: string[] = [];
  if (policy.uids !== null && !isMapped(policy.uids)) {
    lacks.push(`the uids ${policy.uids.first} and following do not exist in this user namespace (helper.json: "uids")`);
  }
  if (policy.memPath !== null && !isDirectory(policy.memPath)) lacks.push(noMemPath(policy.memPath));
  if (policy.bridges === null || policy.bridges.length === 0) return lacks;
  if (!isExecutable(policy.programs.ip)) lacks.push('ip is not installed, which bridged networks need (Debian: apt-get install iproute2)');
  if (!isOpenToAll(TUN)) lacks.push(`${TUN} must be open to all users, as udev makes it, for VMs on bridges (chmod 0666 ${TUN})`);
  return lacks;
}

const TUN = '/dev/net/tun';

function isOpenToAll(device: string): boolean {
  const mode = statSync(device, { throwIfNoEntry: false })?.mode ?? 0;
  return (mode & 0o006) === 0o006;
}

/** sudo says for whom it runs (sudo(8), SUDO_UID and SUDO_GID); root by itself acts for root. */
function callerOf(env: HelperWorld['env']): Owner {
  const { SUDO_UID: uid, SUDO_GID: gid } = env;
  if (uid === undefined) return { uid: 0, gid: 0 };
  if (!/^\d{1,10}$/.test(uid) || !/^\d{1,10}$/.test(gid ?? '')) throw new AgentFault('NotPermitted', 'sudo did not tell its caller');
  return { uid: Number(uid), gid: Number(gid) };
}

/** Another policy file is taken from root only; sudo's callers get the one of the node. */
function policyFile(env: HelperWorld['env']): string {
  return env['SUDO_UID'] === undefined ? (env['NIMBUS_HELPER_POLICY'] ?? POLICY_FILE) : POLICY_FILE;
}

async function readAll(input: AsyncIterable<Buffer | string>): Promise<string> {
  let all = '';
  for await (const chunk of input) {
    all += chunk.toString();
    if (all.length > MAX_REQUEST) throw new AgentFault('BadRequest', `the request exceeds ${MAX_REQUEST} bytes`);
  }
  return all;
}
