/** The operating key's line on a node: the next key beside the one before, proved, and later the one before taken away. */
import type { Context } from '../../platform/context.ts';
import { withDeadline } from '../../platform/deadline.ts';
import type { NodeAccess } from '../types.ts';
import { withNextKey, withoutKey } from './authorized-keys.ts';
import type { Identity } from './connect.ts';
import { connectAsAdministrator, InstallError, MAX_AUTHORIZED_KEYS, prove } from './install.ts';
import type { OperatingKey } from './keys.ts';
import { remoteFiles } from './remote.ts';

const STEP_MS = 30_000;

export interface RotationNode {
  readonly access: NodeAccess & { readonly transport: 'ssh' };
  /** What the administrator's keys are. */
  readonly identities: readonly Identity[];
}

/** @throws SshFailure, InstallError */
export async function addNextKey(ctx: Context, node: RotationNode, before: OperatingKey, next: OperatingKey): Promise<void> {
  await edit(ctx, node, (text) => {
    const after = withNextKey(text, before.publicLine, next.publicLine);
    if (after === undefined) throw new InstallError('~/.ssh/authorized_keys has no line of the operating key; renew it with: nimbus node upgrade');
    return after;
  });
  await mustStart(ctx, node, next);
}

/** The new key is proved before and after: whatever fails, one of the two lets the service in. @throws SshFailure, InstallError */
export async function removeOldKey(ctx: Context, node: RotationNode, old: OperatingKey, now: OperatingKey): Promise<void> {
  await mustStart(ctx, node, now);
  await edit(ctx, node, (text) => withoutKey(text, old.publicLine));
  await mustStart(ctx, node, now);
}

async function mustStart(ctx: Context, { access }: RotationNode, key: OperatingKey): Promise<void> {
  const { status, missing } = await prove(ctx, access, key.privateFile, () => undefined);
  if (status === null) throw new InstallError(missing.join(' '));
}

async function edit(ctx: Context, { access, identities }: RotationNode, change: (text: string) => string): Promise<void> {
  const { host, port, user, hostKey } = access;
  const client = await connectAsAdministrator(ctx, { target: { host, port, user }, identities, trust: { hostKey } }, hostKey);
  const step = <T>(what: string, work: Promise<T>): Promise<T> => withDeadline(ctx.clock, STEP_MS, what, work);
  try {
    const files = await step('opening SFTP', remoteFiles(client, ctx.random));
    const path = `${await step('finding the home directory', files.home())}/.ssh/authorized_keys`;
    const before = (await step('reading authorized_keys', files.read(path, MAX_AUTHORIZED_KEYS))) ?? '';
    const after = change(before);
    if (after !== before) await step('writing authorized_keys', files.write(path, after, 0o600));
    files.end();
  } finally {
    client.end();
  }
}
