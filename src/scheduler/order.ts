/** How nodes compare: share of memory in use, then cores in use, then name. */
import type { PoolNode } from './types.ts';

/** 0..1; a node without memory is full. Equal fractions give equal numbers (IEEE 754 division rounds correctly). */
export const shareUsed = (node: PoolNode): number => (node.memoryMb === 0 ? 1 : node.memoryUsed / node.memoryMb);

/** Negative when `a` is emptier; 0 when only the names differ. */
export const byFullness = (a: PoolNode, b: PoolNode): number => shareUsed(a) - shareUsed(b) || a.coresUsed - b.coresUsed;

/** Names by code unit, so that the order depends on no locale. */
export const byName = (a: PoolNode, b: PoolNode): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id);
