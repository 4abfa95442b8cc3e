import type { Command } from 'commander';
import type { NodeView } from '../../manager/admin-types.ts';
import { envOf, refusal, type CliDeps, type Env } from '../env.ts';
import { Refused, SomeFailed, UsageError } from '../exit.ts';
import { printable } from '../io.ts';
import type { KeyRotation, SshAccess } from '../key-rotation.ts';

interface Options {
  readonly installKey?: string;
  readonly without?: string[];
  readonly byHand?: boolean;
}
interface Node {
  readonly name: string;
  readonly access: SshAccess;
}
/** What became of a node in one step. */
interface Outcome {
  readonly node: string;
  readonly step: 'add' | 'remove';
  readonly ok: boolean;
  readonly reason: string | null;
}

export function addKeyCommands(program: Command, deps: CliDeps): void {
  const key = program.command('key').description('the operating key, with which the service starts agents over SSH');
  key.command('show')
    .description('print its public half')
    .addHelpText('after', `
Example:
  nimbus key show`)
    .action(async (_o: object, command: Command) => {
      const env = envOf(command, deps);
      const { operatingKey } = await env.client.get<{ operatingKey: string }>('/v1/agent');
      env.say({ operatingKey }, operatingKey);
    });
  key.command('rotate')
    .description('replace it: let a new one in on every node, switch to it, take the old one away')
    .option('--install-key <file>', 'your own private key on the nodes (default: your SSH agent, then ~/.ssh)')
    .option('--without <nodes...>', 'leave these nodes out; renew them later with: nimbus node upgrade')
    .option('--by-hand', 'the new key is on hosts that the command cannot know (pilot mode, login node)')
    .addHelpText('after', `
Examples:
  nimbus key rotate --install-key ~/.ssh/cluster
  nimbus key rotate --without node7 node8

The service goes on meanwhile. Nothing is switched before every node has started
its agent for the new key. What was broken off goes on when it is typed again.
Exit code 1 when a node failed; each is reported.`)
    .action((o: Options, command: Command) => rotate(envOf(command, deps), o));
}

async function rotate(env: Env, o: Options): Promise<void> {
  const nodes = await sshNodes(env, o.without ?? []);
  const rotation = await env.keyRotation({ dataDir: env.dataDir, installKey: o.installKey });
  const outcomes: Outcome[] = [];
  if (!rotation.switched()) {
    await knownByHand(env, rotation, o);
    outcomes.push(...await onEach(env, nodes, 'add', (access) => rotation.add(access)));
    if (failures(outcomes) > 0) return ended(env, outcomes, 'nothing was switched: the service uses the key that it had. Mend these nodes, or leave them out with --without, and run the command again');
    rotation.switch();
    if (!env.json) env.io.out('the service uses the new key from now on\n');
  }
  outcomes.push(...await onEach(env, nodes, 'remove', (access) => rotation.remove(access)));
  if (failures(outcomes) > 0) return ended(env, outcomes, 'the service uses the new key, but these nodes may still let the old one in. Run the command again');
  rotation.finish();
  return ended(env, outcomes, `the old key is gone; the operating key is now ${rotation.now}`);
}

/** @throws UsageError where a name is no node over SSH */
async function sshNodes(env: Env, without: readonly string[]): Promise<Node[]> {
  const nodes = (await env.client.get<NodeView[]>('/v1/nodes')).flatMap(({ name, transport, address, hostKey }): Node[] => {
    const [, user = '', host = '', port = ''] = /^(.+)@\[?(.+?)\]?:(\d+)$/.exec(address) ?? [];
    return transport === 'ssh' && hostKey !== null && host !== '' ? [{ name, access: { transport, user, host, port: Number(port), hostKey } }] : [];
  });
  const odd = without.filter((name) => !nodes.some((n) => n.name === name));
  if (odd.length > 0) throw new UsageError(`no node over SSH is named ${odd.join(', ')}`);
  return nodes.filter((n) => !without.includes(n.name));
}

/** Accounts whose keys people have put in place: the service would be locked out of them. @throws Refused */
async function knownByHand(env: Env, rotation: KeyRotation, o: Options): Promise<void> {
  if (o.byHand === true) return;
  const { batchSystem } = await env.client.get<{ batchSystem?: object }>('/v1/status');
  if (batchSystem === undefined) return;
  throw new Refused('Unsupported', 'Login node and compute nodes may know the key by lines that people have written', [
    `put the new key beside the old one there: ${rotation.next()}`, 'then run the command again with --by-hand',
  ]);
}

async function onEach(env: Env, nodes: readonly Node[], step: Outcome['step'], work: (access: SshAccess) => Promise<void>): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { name, access } of nodes) {
    if (env.io.watched) env.io.err(`${printable(name)}: ${step === 'add' ? 'letting the new key in' : 'taking the old key away'}\n`);
    try {
      await work(access);
      outcomes.push({ node: name, step, ok: true, reason: null });
      if (!env.json) env.io.out(`${printable(name)}: ${step === 'add' ? 'starts its agent for the new key' : 'the old key is gone'}\n`);
    } catch (e) {
      outcomes.push({ node: name, step, ok: false, reason: refusal(e).trim() });
      if (!env.json) env.io.err(`${printable(name)}: ${refusal(e)}`);
    }
  }
  return outcomes;
}

const failures = (outcomes: readonly Outcome[]): number => outcomes.filter((o) => !o.ok).length;

function ended(env: Env, outcomes: readonly Outcome[], text: string): void {
  env.say(outcomes, text);
  if (failures(outcomes) > 0) throw new SomeFailed(`${failures(outcomes)} of ${outcomes.length} failed`);
}
