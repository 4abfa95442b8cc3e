/** What `nimbus key rotate` needs of SSH and of the data directory's keys. */
import { homedir } from 'node:os';
import { installIdentities } from '../control/ssh/identities.ts';
import { forgetOldKey, nextKey, oldKey, operatingKey, switchKeys } from '../control/ssh/keys.ts';
import { addNextKey, removeOldKey, type RotationNode } from '../control/ssh/rotate.ts';
import type { Context } from '../platform/context.ts';
import { dataDirAt } from '../platform/datadir.ts';
import { reasonText } from '../platform/errors.ts';
import { UsageError } from './exit.ts';

export type SshAccess = RotationNode['access'];

export interface KeyRotation {
  /** A rotation was begun: its keys are switched, and nodes may still know the old one. */
  switched(): boolean;
  /** Public halves, OpenSSH lines. */
  readonly now: string;
  next(): string;
  /** Lets the next key in on a node, and proves it. */
  add(access: SshAccess): Promise<void>;
  switch(): void;
  /** Takes the old key away from a node, and proves that the new one is let in. */
  remove(access: SshAccess): Promise<void>;
  /** No node knows the old key any more. */
  finish(): void;
}

export interface RotationOptions {
  readonly dataDir: string;
  /** The administrator's own key; undefined = the SSH agent, then ~/.ssh */
  readonly installKey: string | undefined;
}

export const sshKeyRotation = (ctx: Context) => async ({ dataDir, installKey }: RotationOptions): Promise<KeyRotation> => {
  const { keys } = dataDirAt(dataDir);
  const identities = await installIdentities({ installKey, agentSocket: process.env['SSH_AUTH_SOCK'], home: homedir() }).catch((e: unknown) => {
    throw new UsageError(`${installKey ?? 'your private key'} cannot be used: ${reasonText(e)}`, { cause: e });
  });
  return {
    switched: () => oldKey(keys) !== undefined,
    get now() { return operatingKey(keys).publicLine; },
    next: () => nextKey(keys).publicLine,
    add: (access) => addNextKey(ctx, { access, identities }, operatingKey(keys), nextKey(keys)),
    switch: () => switchKeys(keys),
    async remove(access) {
      const old = oldKey(keys);
      if (old !== undefined) await removeOldKey(ctx, { access, identities }, old, operatingKey(keys));
    },
    finish: () => forgetOldKey(keys),
  };
};
