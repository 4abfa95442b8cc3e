/** Open nodes of one memory size, in an array sorted by memory in use, cores in use, name. */
import { byName } from './order.ts';
import type { PoolNode } from './types.ts';

const compare = (a: PoolNode, b: PoolNode): number => a.memoryUsed - b.memoryUsed || a.coresUsed - b.coresUsed || byName(a, b);

export class Shelf {
  readonly memoryMb: number;
  readonly #nodes: PoolNode[] = [];

  constructor(memoryMb: number) {
    this.memoryMb = memoryMb;
  }

  get size(): number {
    return this.#nodes.length;
  }

  add(node: PoolNode): void {
    this.#nodes.splice(this.#firstWhere((n) => compare(n, node) >= 0), 0, node);
  }

  /** `node` with the very figures under which it was added. */
  remove(node: PoolNode): void {
    const at = this.#firstWhere((n) => compare(n, node) >= 0);
    if (this.#nodes[at]?.id !== node.id) throw new Error(`node ${node.name} is not where its figures say`);
    this.#nodes.splice(at, 1);
  }

  /** The emptiest node that `accepts`, among those with `memoryMb` free. */
  emptiest(memoryMb: number, accepts: (node: PoolNode) => boolean): PoolNode | undefined {
    return this.#firstIn(0, this.#endOfRoom(memoryMb), accepts);
  }

  /** The fullest node that `accepts`, among those with `memoryMb` free; of equally full ones the first name. */
  fullest(memoryMb: number, accepts: (node: PoolNode) => boolean): PoolNode | undefined {
    let end = this.#endOfRoom(memoryMb);
    while (end > 0) {
      const last = this.#nodes[end - 1]!;
      const begin = this.#firstWhere((n) => n.memoryUsed > last.memoryUsed || (n.memoryUsed === last.memoryUsed && n.coresUsed >= last.coresUsed));
      const found = this.#firstIn(begin, end, accepts);
      if (found !== undefined) return found;
      end = begin;
    }
    return undefined;
  }

  #endOfRoom(memoryMb: number): number {
    return this.#firstWhere((n) => n.memoryUsed + memoryMb > this.memoryMb);
  }

  #firstIn(begin: number, end: number, accepts: (node: PoolNode) => boolean): PoolNode | undefined {
    for (let i = begin; i < end; i++) {
      const node = this.#nodes[i]!;
      if (accepts(node)) return node;
    }
    return undefined;
  }

  /** Index of the first node for which `test` holds; it must hold for all after it. */
  #firstWhere(test: (node: PoolNode) => boolean): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (test(this.#nodes[middle]!)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
