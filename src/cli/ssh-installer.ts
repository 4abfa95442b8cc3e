/** The installer over SSH, with what `ssh` itself would use on the administrator's machine. */
import { lookup } from 'node:dns/promises';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { installIdentities } from '../control/ssh/identities.ts';
import { installNode, type InstallStep } from '../control/ssh/install.ts';
import { operatingKey } from '../control/ssh/keys.ts';
import { dataDirAt } from '../platform/datadir.ts';
import { reasonText } from '../platform/errors.ts';
import type { Context, Log } from '../platform/context.ts';
import { packageFile } from '../platform/package-file.ts';
import { realClock, realRandom } from '../platform/real.ts';
import { UsageError } from './exit.ts';
import type { InstallRequest, InstallWatcher, NodeInstaller } from './node-installer.ts';

/** What goes wrong comes back as a rejection; the lines between are for the service's log only. */
const silent = (): void => undefined;
const noLog: Log = { debug: silent, info: silent, warn: silent, error: silent, debugging: false, child: () => noLog };
export const quiet: Context = { clock: realClock, random: realRandom, log: noLog };

export const sshInstaller: NodeInstaller = {
  async install(request, watcher) {
    const { host, port, user } = request;
    const report = await installNode(quiet, {
      target: { host, port, user },
      trust: { hostKey: request.hostKey, knownHosts: knownHosts(request), confirm: (shown) => watcher.trust(shown) },
      identities: await identities(request),
      operatingPublicLine: request.operatingKey,
      operatingKeyFile: operatingKey(dataDirAt(request.dataDir).keys).privateFile,
      agentProgram: packageFile('dist/workspace-control.cjs'),
      executable: executable(),
      driver: request.driver,
      agentConfig: { ...request.agentConfig, ...(request.guestAddress === 'keep' ? {} : { qemu: await forwarding(request, request.guestAddress) }) },
      progress: steps(watcher),
    });
    return {
      hostKey: report.access.hostKey, fingerprint: report.host.fingerprint, agentVersion: report.version,
      status: report.status, missing: report.missing,
    };
  },
};

/**
 * Ports that lead to guests are opened where users are, not on the node's loopback; a node that is reached by loopback is
 * this machine, and so are its users.
 */
async function forwarding({ host }: InstallRequest, guestAddress: string | undefined): Promise<{ bindAddress: string; reachHost: string }> {
  const address = guestAddress ?? await lookup(host, { family: 4 }).then((found) => found.address, (e: unknown) => {
    throw new UsageError(`${host} has no IPv4 address (${reasonText(e)}); name the one at which its guests are reached with --guest-address`, { cause: e });
  });
  return { bindAddress: address.startsWith('127.') ? address : '0.0.0.0', reachHost: address };
}

async function identities({ installKey }: InstallRequest): ReturnType<typeof installIdentities> {
  try {
    return await installIdentities({ installKey, agentSocket: process.env['SSH_AUTH_SOCK'], home: homedir() });
  } catch (e) {
    throw new UsageError(`${installKey ?? 'your private key'} cannot be used: ${reasonText(e)}`, { cause: e });
  }
}

/** The file that was named must be there; those that ssh reads by itself may be missing. */
function knownHosts({ knownHosts: named }: InstallRequest): string[] {
  if (named === undefined) return [join(homedir(), '.ssh', 'known_hosts'), '/etc/ssh/ssh_known_hosts'].filter((f) => existsSync(f)).map((f) => readFileSync(f, 'utf8'));
  try {
    return [readFileSync(named, 'utf8')];
  } catch (e) {
    throw new UsageError(`${named} cannot be read: ${reasonText(e)}`, { cause: e });
  }
}

/** The self-contained agent, where it was built (`npm run build:sea`), for nodes without Node. */
function executable(): string | undefined {
  const file = packageFile('dist/workspace-control');
  return existsSync(file) ? file : undefined;
}

/** One line a step; the share of a copy would be a line for each chunk. */
function steps(watcher: InstallWatcher): (step: InstallStep) => void {
  let last = '';
  return ({ text }) => {
    if (text !== last) watcher.progress(text);
    last = text;
  };
}
