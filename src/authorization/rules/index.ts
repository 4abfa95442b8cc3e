/** All rules. A refusal has the code of the first that fails: first what may never be, then how long, then how many. */
import type { CountingRule, Rule } from '../types.ts';
import { cores } from './cores.ts';
import { duration } from './duration.ts';
import { groupSize } from './group-size.ts';
import { images } from './images.ts';
import { leases } from './leases.ts';
import { mayExtend } from './may-extend.ts';
import { memory } from './memory.ts';
import { networks } from './networks.ts';
import { reservedMinutes } from './reserved-minutes.ts';
import { types } from './types.ts';
import { usedMinutes } from './used-minutes.ts';
import { zones } from './zones.ts';

export const COUNTING: readonly CountingRule[] = [leases, cores, memory, reservedMinutes];

export const RULES: readonly Rule[] = [images, types, networks, zones, mayExtend, duration, groupSize, leases, cores, memory, reservedMinutes, usedMinutes];
