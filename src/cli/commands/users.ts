import type { Command } from 'commander';
import type { NewCredentials, UserView } from '../../manager/admin-types.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps } from '../env.ts';
import { UsageError } from '../exit.ts';
import { time } from '../format.ts';
import { addCertificateCommands } from './certificates.ts';

export function addUserCommands(program: Command, deps: CliDeps): void {
  const user = program.command('user').description('people who may lease VMs, and their keys');

  user.command('add <name>')
    .description('make a user and a first key')
    .option('--admin', 'sees and touches the leases of all users')
    .option('--dn <dn...>', 'names of the user’s grid certificates, in slash form')
    .addHelpText('after', '\nExamples:\n  nimbus user add alice\n  nimbus user add alice --dn "/O=Grid/CN=Alice"\n  nimbus user add alice --json | jq -r .secretKey')
    .action(async (name: string, o: { admin?: boolean; dn?: string[] }, command: Command) => {
      const env = envOf(command, deps);
      const made = await env.client.post<NewCredentials>('/v1/users', { name, admin: o.admin === true, ...(o.dn === undefined ? {} : { dns: o.dn }) });
      env.say(made, `User ${made.name} was made (EC2 owner id ${made.ownerId}).\n${credentials(made)}`);
    });

  user.command('list')
    .description('all users')
    .addHelpText('after', '\nExample:\n  nimbus user list')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      env.table(await env.client.get<UserView[]>('/v1/users'), [
        { title: 'USER', value: (u) => u.name, shrinks: true },
        { title: 'OWNER ID', value: (u) => u.ownerId },
        { title: 'ROLE', value: (u) => (u.admin ? 'admin' : 'user') },
        { title: 'ACTIVE KEYS', value: (u) => u.accessKeys.filter((k) => k.active).length },
        { title: 'CERTIFICATES', value: (u) => u.dns.join(', ') || '-', shrinks: true },
        { title: 'SINCE', value: (u) => time(u.createdAt) },
      ], 'There are no users. Make one with: nimbus user add NAME');
    });

  user.command('remove <names...>')
    .description('remove users that have no live leases')
    .addHelpText('after', '\nExample:\n  nimbus user remove alice bob')
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.delete(path`/v1/users/${name}`), (_r, name) => `${name} was removed`);
    });

  user.command('key <name>')
    .description('make a further key, or switch keys off')
    .option('--deactivate <access-key...>', 'switch these keys off instead')
    .addHelpText('after', '\nExamples (to replace a key):\n  nimbus user key alice\n  nimbus user key alice --deactivate NIMBQY3CZ5LKXW2T4VDA')
    .action(async (name: string, o: { deactivate?: string[] }, command: Command) => {
      const env = envOf(command, deps);
      if (o.deactivate !== undefined) {
        await each(env, o.deactivate, (key) => env.client.delete(path`/v1/users/${name}/keys/${key}`), (_r, key) => `${key} is switched off`);
        return;
      }
      const made = await env.client.post<NewCredentials>(path`/v1/users/${name}/keys`);
      env.say(made, `User ${made.name} has a further key.\n${credentials(made)}`);
    });

  user.command('dn <name>')
    .description('names of the user’s grid certificates')
    .option('--add <dn...>', 'certificates of these names are the user’s from now on')
    .option('--remove <dn...>', 'and of these no longer')
    .addHelpText('after', '\nExamples:\n  nimbus user dn alice --add "/O=Grid/OU=Lab/CN=Alice Grid"\n  nimbus user dn alice --remove "/O=Grid/CN=Alice"')
    .action(async (name: string, o: { add?: string[]; remove?: string[] }, command: Command) => {
      const env = envOf(command, deps);
      const { add = [], remove = [] } = o;
      if (add.length + remove.length === 0) throw new UsageError('give --add or --remove');
      const added = (place: number): boolean => place < add.length;
      await each(env, [...add, ...remove],
        (dn, place) => (added(place) ? env.client.post(path`/v1/users/${name}/dns`, { dn }) : env.client.delete(path`/v1/users/${name}/dns/${dn}`)),
        (_r, dn, place) => (added(place) ? `${dn} is ${name}’s` : `${dn} is nobody’s`));
    });

  addCertificateCommands(user, deps);
}

function credentials(c: NewCredentials): string {
  return `\n  export AWS_ACCESS_KEY_ID=${c.accessKey}\n  export AWS_SECRET_ACCESS_KEY=${c.secretKey}\n\nThe secret key is shown this once.\n`;
}
