/** What grid clients do beyond others: leases that come to rest before they run, ensembles that are gathered and then placed together. */
import type { CreateRequest, GridRequest, RestingState } from '../../../src/lease/types.ts';
import type { FullManager as Manager } from '../../../src/manager/index.ts';
import type { Caller } from '../../../src/manager/types.ts';
import type { Dice } from './random.ts';
import type { Rule } from './rules.ts';

/** s; half of the ensembles are forgotten by those who began them */
export const ENSEMBLE_WAIT_S = 40;
const RESTS: readonly RestingState[] = ['Unpropagated', 'Propagated', 'Paused'];

/** Of what is asked for through the grid's door: a part rests, a part waits for others. */
export function gridWish(dice: Dice): Pick<CreateRequest, 'grid'> {
  return { grid: gridRequest(dice.chance(0.5) ? dice.pick(RESTS) : null, dice.chance(0.4) ? 'new' : null) };
}

function gridRequest(target: RestingState | null, ensemble: GridRequest['ensemble']): GridRequest {
  return { name: 'http://workspace/simulated', nics: ['eth0'], architecture: 'x86', cores: false, target, saveAs: null, ensemble };
}

/** Ensembles that their users still gather: one of each. */
async function gathered(m: Manager, users: readonly Caller[]): Promise<Array<readonly [user: Caller, ensemble: string]>> {
  const found = await Promise.all(users.map(async (user) => (await m.workspaces.list(user)).find((w) => w.state === 'Pending' && w.grid?.ensemble != null)?.grid?.ensemble));
  return users.flatMap((user, i) => (found[i] == null ? [] : [[user, found[i]] as const]));
}

/** What joins an ensemble. */
export const ONE_MORE: CreateRequest = { minCount: 1, maxCount: 1, image: 'guest', durationS: 600 };

export async function join(m: Manager, users: readonly Caller[], requestId: string): Promise<void> {
  const [found] = await gathered(m, users);
  if (found !== undefined) await m.workspaces.create({ ...found[0], requestId }, { ...ONE_MORE, grid: gridRequest(null, { join: found[1] }) });
}

export async function launch(m: Manager, users: readonly Caller[]): Promise<void> {
  const [found] = await gathered(m, users);
  if (found !== undefined) await m.workspaces.launch(...found);
}

export const OF_ENSEMBLES: readonly Rule[] = [
  { says: 'an ensemble is placed whole, and not before it is done', broken: `
      SELECT e.id FROM ensemble e JOIN grid_group g ON g.ensemble_id = e.id JOIN lease l ON l.group_id = g.group_id
       WHERE NOT l.final AND l.state <> 'Ending' AND (e.done_at IS NOT NULL) <> (l.node_id IS NOT NULL OR l.slot_node_id IS NOT NULL)` },
];
