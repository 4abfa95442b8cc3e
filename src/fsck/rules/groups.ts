/** Groups are all or none, and so is what a client token stands for. */
import { statement } from '../../store/db.ts';
import { rule } from '../rule.ts';

export const groupRules = [
  rule<{ id: string; token: string | null }>({
    name: 'group-empty', pages: 'group',
    broken: 'SELECT g.id, g.client_token AS token FROM lease_group g WHERE $page(g.id) AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.group_id = g.id)',
    says: (g) => `group ${g.id} has no leases${g.token === null ? '' : `, but answers for client token ${g.token}`}`,
    mend: 'removes the group',
    repair: {
      lock: statement<unknown>('fsck-lock-groups', 'SELECT id FROM lease_group WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE'),
      statement: 'DELETE FROM lease_group WHERE id = ANY($1::text[])',
    },
  }),
  rule<{ id: string; leases: number; numbers: number }>({
    name: 'group-torn', pages: 'group',
    broken: `SELECT g.id, count(*)::int AS leases, max(l.launch_index) + 1 AS numbers FROM lease_group g JOIN lease l ON l.group_id = g.id WHERE $page(g.id) GROUP BY g.id
             HAVING count(*) <> max(l.launch_index) + 1 OR count(DISTINCT l.launch_index) <> count(*) OR min(l.launch_index) <> 0`,
    says: (g) => `group ${g.id} has ${g.leases} leases with numbers up to ${g.numbers}: it is not all or none`,
    mend: 'a lease of it was lost or added by hand: restore a backup, or end the group’s leases',
  }),
  rule<{ id: string; lease: string }>({
    name: 'group-account', pages: 'group',
    broken: `SELECT g.id, min(l.id) AS lease FROM lease_group g JOIN lease l ON l.group_id = g.id WHERE $page(g.id) AND l.account_id <> g.account_id GROUP BY g.id`,
    says: (g) => `group ${g.id} has lease ${g.lease} of another user`,
    mend: 'nothing tells whose it is: end that lease',
  }),
  rule<{ id: string; token: string }>({
    name: 'token-request',
    broken: "SELECT id, client_token AS token FROM lease_group WHERE client_token IS NOT NULL AND request_hash = ''",
    says: (g) => `group ${g.id} does not say which request client token ${g.token} stands for: a repetition would be refused`,
    mend: 'the user has to take another token',
  }),
];
