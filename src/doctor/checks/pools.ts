/** Whether networks would give one address to two guests, or to a guest what is a router's. */
import { addressesOfOthers, addressesTwice, networksWithUse } from '../../store/networks.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check, Finding } from '../types.ts';

const CHECK = 'pools';
const MOST_NAMED = 10;

export const pools: Check = {
  name: CHECK,
  async look({ db }) {
    if ('missing' in db) return [];
    const [twice, others, networks] = [await db.query(addressesTwice), await db.query(addressesOfOthers), await db.query(networksWithUse, [null])];
    const found = [
      ...some(twice.map((t) => (t.same_bridge ? fail : warn)(CHECK, `${t.ip} is in the pools of ${t.networks.join(' and ')}${t.same_bridge ? ', on one bridge: two guests may get it' : ': guests of the two cannot speak with each other'}`,
        `take it out of one: nimbus network address remove ${t.networks[0] ?? 'NETWORK'} ${t.ip}`))),
      ...some(others.map((o) => fail(CHECK, `${o.ip} is in the pool of ${o.network} and is the ${o.what} of ${o.other}, on the same bridge`, `take it out: nimbus network address remove ${o.network} ${o.ip}`))),
      ...networks.filter((n) => n.kind === 'bridge' && n.addresses === 0).map((n) => warn(CHECK, `${n.name} has no addresses: leases on it are refused`, `nimbus network address add ${n.name} FROM-TO`)),
      ...networks.filter((n) => n.addresses > 0 && n.addresses === n.in_use).map((n) => warn(CHECK, `all ${n.addresses} addresses of ${n.name} are in use: further leases on it are refused`, `nimbus network address add ${n.name} FROM-TO`)),
    ];
    return found.length > 0 ? found : [ok(CHECK, `the pools of ${networks.length} ${networks.length === 1 ? 'network do' : 'networks do'} not overlap`)];
  },
};

const some = (all: readonly Finding[]): Finding[] => (all.length <= MOST_NAMED ? [...all] : [...all.slice(0, MOST_NAMED), fail(CHECK, `${all.length - MOST_NAMED} more addresses overlap`, 'look at: nimbus network address list NETWORK')]);
