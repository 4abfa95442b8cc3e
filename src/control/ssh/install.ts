/**
 * Puts the agent on a node with the administrator's own key, lets the operating key start it and nothing else, and proves
 * the whole way. Repeatable: an upgrade is the same steps with a newer agent.
 */
import { existsSync } from 'node:fs';
import type { Client } from 'ssh2';
import { isFault } from '../../lease/faults.ts';
import type { Context } from '../../platform/context.ts';
import { withDeadline } from '../../platform/deadline.ts';
import { newOperationId } from '../../platform/ids.ts';
import { VERSION } from '../../platform/version.ts';
import { createControlClient } from '../client/client.ts';
import { mergedSettings } from '../agent-settings.ts';
import { excerpt } from '../client/lines.ts';
import { sshTransport } from '../client/ssh.ts';
import type { NodeStatus } from '../protocol.ts';
import type { NodeAccess } from '../types.ts';
import { withOperateLine } from './authorized-keys.ts';
import { connectSsh, describeTarget, pinnedTo, type Identity, type SshTarget } from './connect.ts';
import { keyType, readPin } from './hostkeys.ts';
import { readKey } from './keys.ts';
import { remoteFiles, runRemote, type RemoteFiles } from './remote.ts';
import { trustHost, type TrustedHost, type TrustOptions } from './trust.ts';

const OLDEST_NODE = [20, 19] as const;
const NODE_PLACES = ['node', '/usr/bin/node', '/usr/local/bin/node'];
/** POSIX shells, exit status of a command that was not found. */
const COMMAND_NOT_FOUND = 127;
const STEP_MS = 30_000;
const COPY_MS = 600_000;
export const MAX_AUTHORIZED_KEYS = 1024 * 1024;
const MAX_SETTINGS = 1024 * 1024;

export interface InstallOptions {
  readonly target: SshTarget;
  readonly trust: TrustOptions;
  /** What the administrator's keys are; see `installIdentities`. */
  readonly identities: readonly Identity[];
  /** Public half of the operating key, one OpenSSH line. */
  readonly operatingPublicLine: string;
  /** Its private half; without it the last step, the proof, is left out. */
  readonly operatingKeyFile?: string | undefined;
  /** The bundled agent. */
  readonly agentProgram: string;
  /** The self-contained executable, for nodes without a usable Node. */
  readonly executable?: string | undefined;
  readonly driver?: 'auto' | 'qemu' | 'simulated';
  readonly agentConfig?: Readonly<Record<string, unknown>> | undefined;
  /** On the node; default `~/.nimbus/control`. */
  readonly stateDir?: string | undefined;
  readonly progress?: (step: InstallStep) => void;
}

export interface InstallStep {
  readonly step: 'host-key' | 'connect' | 'check' | 'copy' | 'authorize' | 'prove';
  /** A clause for people: `copying the agent`. */
  readonly text: string;
  /** 0..1 while bytes are copied. */
  readonly share?: number;
}

export interface InstallReport {
  readonly access: NodeAccess & { transport: 'ssh' };
  readonly host: TrustedHost;
  /** Version of the agent that was installed. */
  readonly version: string;
  /** The command that the operating key starts. */
  readonly command: readonly string[];
  /** What the agent says of its node; null when it was not asked or did not answer. */
  readonly status: NodeStatus | null;
  /** What is missing, each with how to mend it. Empty = ready. */
  readonly missing: readonly string[];
}

/** A step that failed, with how to mend it. */
export class InstallError extends Error {
  override readonly name = 'InstallError';
}

/** @throws SshFailure, InstallError */
export async function installNode(ctx: Context, options: InstallOptions): Promise<InstallReport> {
  refuseSameKey(options);
  const say = options.progress ?? (() => undefined);
  say({ step: 'host-key', text: `looking at the host key of ${options.target.host}` });
  const host = await trustHost(ctx, options.target, options.trust);
  say({ step: 'connect', text: `connecting to ${describeTarget(options.target)}` });
  const client = await connectAsAdministrator(ctx, options, host.hostKey);
  let command: readonly string[];
  try {
    command = await putInPlace(ctx, client, options, say);
  } finally {
    client.end();
  }
  const access = { transport: 'ssh' as const, ...options.target, hostKey: host.hostKey };
  const proof = options.operatingKeyFile === undefined ? { status: null, missing: [] } : await prove(ctx, access, options.operatingKeyFile, say);
  return { access, host, version: VERSION, command, ...proof };
}

function refuseSameKey({ identities, operatingPublicLine }: InstallOptions): void {
  const operating = readPin(operatingPublicLine);
  if (operating === undefined) throw new InstallError('the operating key is no OpenSSH public key');
  for (const i of identities) {
    if (i.kind === 'key' && readKey(i.privateKey, i.name, i.passphrase).getPublicSSH().equals(operating)) {
      throw new InstallError(`${i.name} is the operating key; the key that installs must be another`);
    }
  }
}

export async function connectAsAdministrator(ctx: Context, { target, identities, trust }: Pick<InstallOptions, 'target' | 'identities' | 'trust'>, hostKey: string): Promise<Client> {
  const pin = readPin(hostKey) ?? Buffer.alloc(0);
  const stop = new AbortController();
  const ms = trust.connectMs ?? STEP_MS;
  const timer = ctx.clock.after(ms, () => stop.abort(new Error(`no connection within ${ms} ms`)));
  try {
    return await connectSsh({ target, identities, checkHost: pinnedTo(pin), expectType: keyType(pin) }, stop.signal);
  } finally {
    timer.cancel();
  }
}

/** Program, settings and authorized key, in this order: the key never names a program that is not there. */
async function putInPlace(ctx: Context, client: Client, options: InstallOptions, say: (s: InstallStep) => void): Promise<readonly string[]> {
  const step = <T>(what: string, work: Promise<T>, ms = STEP_MS): Promise<T> =>
    withDeadline(ctx.clock, ms, what, work).catch((e: unknown) => {
      throw e instanceof InstallError ? e : new InstallError(`${what}: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
    });
  say({ step: 'check', text: 'looking for Node on the host' });
  const node = await step('looking for Node on the host', findNode(client));
  const files = await step('opening SFTP', remoteFiles(client, ctx.random));
  try {
    const home = await step('finding the home directory', files.home());
    say({ step: 'copy', text: 'copying the agent' });
    const command = await step('copying the agent', copyAgent(files, `${home}/.nimbus`, node, options, say), COPY_MS);
    const stateDir = options.stateDir ?? `${home}/.nimbus/control`;
    const full = [...command, 'serve', '--state', stateDir, '--driver', options.driver ?? 'auto', ...await step('writing the settings', writeSettings(files, home, options))];
    say({ step: 'authorize', text: 'letting the operating key start the agent' });
    await step('writing authorized_keys', authorize(files, `${home}/.ssh`, full, stateDir, options.operatingPublicLine));
    return full;
  } finally {
    files.end();
  }
}

type FoundNode = { readonly path: string } | { readonly path: null; readonly why: string };

async function findNode(client: Client): Promise<FoundNode> {
  let why = 'the host has no Node';
  for (const place of NODE_PLACES) {
    const { code, stdout, stderr } = await runRemote(client, [place, '-p', 'JSON.stringify([process.execPath,process.versions.node])']);
    const line = stdout.trim().split('\n').at(-1) ?? '';
    const [, path, major, minor] = /^\["(\/[^"\\]+)","(\d+)\.(\d+)\.[^"]*"\]$/.exec(line) ?? [];
    if (code !== COMMAND_NOT_FOUND && path === undefined) why = `the host does not run ${place}: ${excerpt((stderr || stdout).trim())}`;
    if (code !== 0 || path === undefined) continue;
    const [wantMajor, wantMinor] = OLDEST_NODE;
    if (Number(major) > wantMajor || (Number(major) === wantMajor && Number(minor) >= wantMinor)) return { path };
    why = `${path} on the host is version ${major}.${minor}`;
  }
  return { path: null, why };
}

async function copyAgent(files: RemoteFiles, directory: string, node: FoundNode, options: InstallOptions, say: (s: InstallStep) => void): Promise<string[]> {
  if (node.path === null && options.executable === undefined) {
    throw new InstallError(`${node.why}; the agent needs ${OLDEST_NODE.join('.')} or newer. Install Node there, or build the self-contained agent with "npm run build:sea" and give it with --executable`);
  }
  const local = node.path === null ? options.executable ?? '' : options.agentProgram;
  if (!existsSync(local)) throw new InstallError(`${local} is not there; build it with "npm run build${node.path === null ? ':sea' : ''}"`);
  await files.ensureDirectory(directory);
  const remote = `${directory}/workspace-control-${VERSION}${node.path === null ? '' : '.cjs'}`;
  const share = (sent: number, total: number): void => say({ step: 'copy', text: 'copying the agent', share: total === 0 ? 1 : sent / total });
  await files.write(remote, { file: local }, 0o755, share);
  return node.path === null ? [remote] : [node.path, remote];
}

async function writeSettings(files: RemoteFiles, home: string, { agentConfig }: InstallOptions): Promise<string[]> {
  if (agentConfig === undefined) return [];
  const path = `${home}/.nimbus/agent.json`;
  const settings = mergedSettings(await files.read(path, MAX_SETTINGS), agentConfig, path);
  await files.write(path, `${JSON.stringify(settings, null, 2)}\n`, 0o600);
  return ['--config', path];
}

async function authorize(files: RemoteFiles, directory: string, command: readonly string[], stateDir: string, publicLine: string): Promise<void> {
  const path = `${directory}/authorized_keys`;
  await files.ensureDirectory(directory);
  const before = (await files.read(path, MAX_AUTHORIZED_KEYS)) ?? '';
  const after = withOperateLine(before, { command, publicLine }, stateDir);
  if (after !== before) await files.write(path, after, 0o600);
}

/** Opens the channel as the service will, and asks the agent for its node. */
export async function prove(ctx: Context, access: NodeAccess & { transport: 'ssh' }, privateKeyFile: string, say: (s: InstallStep) => void): Promise<{ status: NodeStatus | null; missing: string[] }> {
  say({ step: 'prove', text: 'starting the agent with the operating key' });
  const client = createControlClient(ctx, {
    imageSource: () => { throw new Error('no image is sent while a node is added'); },
    transport: () => sshTransport(ctx, access, { privateKeyFile }),
    silenceMs: STEP_MS, reconnectMaxMs: STEP_MS,
  });
  try {
    client.setNodes([{ id: 0, name: access.host, access }]);
    const { result } = await client.ask(0, { op: 'status', id: newOperationId(ctx.random), deadlineMs: STEP_MS });
    const status = 'status' in result ? result.status : null;
    return { status, missing: [...(status?.missing ?? [])] };
  } catch (e) {
    if (!isFault(e)) throw e;
    return { status: null, missing: [`The agent does not start through the operating key: ${e.reasons.join('; ')}. See that sshd reads ~/.ssh/authorized_keys (AuthorizedKeysFile) and permits the account and its forced command (PermitRootLogin, ForceCommand).`] };
  } finally {
    await client.close();
  }
}
