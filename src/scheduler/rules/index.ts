/** All rules. A refused node is told the first that it breaks, so the order is from the node's state to its room. */
import type { Demand, PoolNode, Rule } from '../types.ts';
import { active } from './active.ts';
import { cores } from './cores.ts';
import { memory } from './memory.ts';
import { networks } from './networks.ts';
import { reachable } from './reachable.ts';
import { zone } from './zone.ts';

export const RULES: readonly Rule[] = [zone, active, reachable, networks, memory, cores];

export const fits = (node: PoolNode, demand: Demand): boolean => RULES.every((rule) => rule.allows(node, demand));

export const brokenRule = (node: PoolNode, demand: Demand): Rule | undefined => RULES.find((rule) => !rule.allows(node, demand));
