/** The snapshot of all nodes, indexed for placement. Changed by what the service learns; never oversubscribed. */
import { Shelf } from './shelf.ts';
import type { Placement, PoolNode, Room } from './types.ts';

/** A node that is not open breaks a rule for every demand, so it lies on no shelf. */
const isOpen = (n: PoolNode): boolean => n.active && n.reachable && n.memoryUsed < n.memoryMb && n.coresUsed < n.cores;

export class Pool {
  readonly #nodes = new Map<number, PoolNode>();
  readonly #shelves = new Map<number, Shelf>();
  readonly #zones = new Map<string, number>();

  constructor(nodes: Iterable<PoolNode> = []) {
    for (const node of nodes) this.upsert(node);
  }

  get size(): number {
    return this.#nodes.size;
  }

  node(id: number): PoolNode | undefined {
    return this.#nodes.get(id);
  }

  nodes(): Iterable<PoolNode> {
    return this.#nodes.values();
  }

  /** Zones that have a node, in whatever state it is. */
  zones(): string[] {
    return [...this.#zones.keys()].sort();
  }

  hasZone(zone: string): boolean {
    return this.#zones.has(zone);
  }

  shelves(): Iterable<Shelf> {
    return this.#shelves.values();
  }

  upsert(node: PoolNode): void {
    this.remove(node.id);
    this.#nodes.set(node.id, node);
    this.#zones.set(node.zone, (this.#zones.get(node.zone) ?? 0) + 1);
    this.#shelve(node);
  }

  remove(id: number): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    this.#unshelve(node);
    this.#nodes.delete(id);
    const left = (this.#zones.get(node.zone) ?? 1) - 1;
    if (left === 0) this.#zones.delete(node.zone);
    else this.#zones.set(node.zone, left);
  }

  /** Takes room on a node. Throws when it has not got it: a plan was applied to a pool that it was not made for. */
  take(id: number, room: Room): void {
    const node = this.#known(id);
    if (node.memoryUsed + room.memoryMb > node.memoryMb || node.coresUsed + room.cores > node.cores) {
      throw new Error(`node ${node.name} would be oversubscribed`);
    }
    this.#change(node, room.memoryMb, room.cores);
  }

  /** Gives room back. Throws when more is given than was taken. */
  release(id: number, room: Room): void {
    const node = this.#known(id);
    if (node.memoryUsed < room.memoryMb || node.coresUsed < room.cores) throw new Error(`node ${node.name} has less in use than is given back`);
    this.#change(node, -room.memoryMb, -room.cores);
  }

  /** The placement counts from now on: each of its leases takes `room`. */
  apply(placement: Placement, room: Room): void {
    for (const id of placement.nodes) this.take(id, room);
  }

  #known(id: number): PoolNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id} in the pool`);
    return node;
  }

  #change(node: PoolNode, memoryMb: number, cores: number): void {
    this.#unshelve(node);
    const changed = { ...node, memoryUsed: node.memoryUsed + memoryMb, coresUsed: node.coresUsed + cores };
    this.#nodes.set(node.id, changed);
    this.#shelve(changed);
  }

  #shelve(node: PoolNode): void {
    if (!isOpen(node)) return;
    let shelf = this.#shelves.get(node.memoryMb);
    if (shelf === undefined) this.#shelves.set(node.memoryMb, (shelf = new Shelf(node.memoryMb)));
    shelf.add(node);
  }

  #unshelve(node: PoolNode): void {
    if (!isOpen(node)) return;
    const shelf = this.#shelves.get(node.memoryMb);
    shelf?.remove(node);
    if (shelf?.size === 0) this.#shelves.delete(node.memoryMb);
  }
}
