/** What `nimbus node add` and `node upgrade` need of SSH. */
import type { NodeStatus } from '../control/protocol.ts';

export interface InstallRequest {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The administrator's own key; undefined = the SSH agent, then ~/.ssh */
  readonly installKey: string | undefined;
  /** A host key that is trusted (`ssh-ed25519 AAAA…`) or its fingerprint (`SHA256:…`) */
  readonly hostKey: string | undefined;
  /** known_hosts files, which may name a host CA */
  readonly knownHosts: string | undefined;
  readonly driver: 'auto' | 'qemu' | 'simulated';
  /** Where guests behind forwarded ports are reached; undefined = the address of `host`, `keep` = as the node's settings say */
  readonly guestAddress: string | undefined;
  /** Public half of the service's key, one OpenSSH line */
  readonly operatingKey: string;
  /** Settings of the agent; null = its own defaults */
  readonly agentConfig: Readonly<Record<string, unknown>> | null;
  /** The service's data directory; the private half of its key lies in it */
  readonly dataDir: string;
}

export interface InstallWatcher {
  progress(what: string): void;
  /** Asked when nothing that the administrator gave vouches for the key. */
  trust(key: { readonly fingerprint: string; readonly type: string }): Promise<boolean>;
}

export interface Installed {
  /** The key that was seen and accepted, `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
  readonly fingerprint: string;
  readonly agentVersion: string;
  /** null when the agent did not start; then `missing` says why */
  readonly status: NodeStatus | null;
  /** Sentences on what the node lacks, each with how to mend it. Empty = ready. */
  readonly missing: readonly string[];
}

export interface NodeInstaller {
  /** Copies the agent, lets the operating key start it, asks it for its status. Safe to repeat. */
  install(request: InstallRequest, watcher: InstallWatcher): Promise<Installed>;
}
