import { describe, expect, test } from 'vitest';
import { plan, refusalFault } from '../../src/scheduler/plan.ts';
import { Pool } from '../../src/scheduler/pool.ts';
import { isRefusal, type Placement, type PlanRequest, type PoolNode, type Refusal, type StrategyName } from '../../src/scheduler/types.ts';
import { node, request } from './nodes.ts';

const answer = (nodes: PoolNode[], asked: PlanRequest, strategy: StrategyName = 'greedy'): Placement | Refusal =>
  plan(new Pool(nodes), asked, strategy);
const placed = (nodes: PoolNode[], asked: PlanRequest, strategy?: StrategyName): readonly number[] => {
  const result = answer(nodes, asked, strategy);
  if (isRefusal(result)) throw new Error(`refused: ${result.message} ${result.reasons.join('; ')}`);
  return result.nodes;
};
const refused = (nodes: PoolNode[], asked: PlanRequest): Refusal => {
  const result = answer(nodes, asked);
  if (!isRefusal(result)) throw new Error(`placed on ${result.nodes.join(', ')}`);
  return result;
};

describe('greedy', () => {
  test('fills the fullest node that fits, then the next', () => {
    const nodes = [node(1), node(2, { memoryUsed: 512 }), node(3, { memoryUsed: 960 })];
    expect(placed(nodes, request(6))).toEqual([2, 2, 2, 2, 1, 1]);
  });

  test('takes the first name among equals', () => {
    expect(placed([node(2), node(1), node(3)], request(1))).toEqual([1]);
  });

  test('compares nodes of different size by share', () => {
    const nodes = [node(1, { memoryMb: 8192, memoryUsed: 4096 }), node(2, { memoryMb: 2048, memoryUsed: 512 })];
    expect(placed(nodes, request(1))).toEqual([1]);
  });
});

describe('round-robin', () => {
  test('spreads a group over the nodes', () => {
    expect(placed([node(1), node(2), node(3)], request(7), 'round-robin')).toEqual([1, 2, 3, 1, 2, 3, 1]);
  });

  test('takes the emptiest by share', () => {
    const nodes = [node(1, { memoryMb: 8192, memoryUsed: 4096 }), node(2, { memoryMb: 2048, memoryUsed: 512 })];
    expect(placed(nodes, request(1), 'round-robin')).toEqual([2]);
  });
});

describe('rules', () => {
  test('drained, silent and unfit nodes are left alone', () => {
    const nodes = [
      node(1, { active: false }), node(2, { reachable: false }), node(3, { zone: 'west' }),
      node(4, { networks: ['private'] }), node(5, { cores: 0 }), node(6, { zone: 'east' }),
    ];
    expect(placed(nodes, request(2, { zone: 'east' }))).toEqual([6, 6]);
  });
});

describe('counts', () => {
  test('as many as fit between the least and the most', () => {
    expect(placed([node(1, { memoryMb: 384 })], request(1, { maxCount: 10 }))).toEqual([1, 1, 1]);
  });

  test('below the least none is placed, and each node says what it would take', () => {
    const refusal = refused([node(1, { memoryMb: 256 }), node(2, { active: false })], request(3));
    expect(refusal).toEqual({
      code: 'NoCapacity', never: false,
      message: 'There is room now for 2 of the 3 VMs asked for',
      reasons: [
        'node-00001: takes 2, then 128 MiB of memory asked, 0 of 256 free',
        'node-00002: drained by an administrator',
      ],
    });
  });

  test('the pool is the same after a placement and after a refusal', () => {
    const pool = new Pool([node(1), node(2, { memoryUsed: 512 })]);
    const before = [...pool.nodes()];
    plan(pool, request(4), 'greedy');
    plan(pool, request(400), 'round-robin');
    expect([...pool.nodes()]).toEqual(before);
  });
});

describe('refusals', () => {
  test('a full site: not now', () => {
    const refusal = refused([node(1, { coresUsed: 8, memoryUsed: 512 })], request(1));
    expect(refusal.never).toBe(false);
    expect(refusal.message).toBe('No node has room now for a VM of 128 MiB and 1 core');
    expect(refusal.reasons).toEqual(['node-00001: 1 core asked, 0 of 8 free']);
  });

  test('larger than any node: never', () => {
    const refusal = refused([node(1), node(2)], request(1, { memoryMb: 4096 }));
    expect(refusal.never).toBe(true);
    expect(refusal.message).toBe('This can never be placed: no node of the site can hold a VM of 4096 MiB and 1 core even when empty');
    expect(refusal.reasons).toEqual([
      'node-00001: 4096 MiB of memory asked, 1024 of 1024 free', 'node-00002: 4096 MiB of memory asked, 1024 of 1024 free',
    ]);
  });

  test('more than the whole site holds: never', () => {
    const refusal = refused([node(1), node(2)], request(17));
    expect(refusal).toMatchObject({ never: true, code: 'NoCapacity' });
    expect(refusal.message).toBe('This can never be placed: the site holds at most 16 of the 17 VMs asked for, even when empty');
  });

  test('an unknown zone names the zones', () => {
    expect(refused([node(1, { zone: 'east' }), node(2, { zone: 'west' })], request(1, { zone: 'moon' }))).toEqual({
      code: 'ZoneUnknown', never: true, message: 'Invalid availability zone: [moon]', reasons: ['the site has east, west'],
    });
  });

  test('a site without nodes', () => {
    expect(refused([], request(1)).reasons).toEqual(['the site has no VMM node']);
  });

  test('above twenty nodes the reasons are counted, with examples', () => {
    const nodes = Array.from({ length: 30 }, (_, i) => node(i + 1, i < 5 ? { active: false } : { memoryUsed: 1000 }));
    expect(refused(nodes, request(1)).reasons).toEqual([
      '5 nodes refused by active, e.g. node-00001: drained by an administrator, node-00002: drained by an administrator, node-00003: drained by an administrator',
      '25 nodes refused by memory, e.g. node-00006: 128 MiB of memory asked, 24 of 1024 free, node-00007: 128 MiB of memory asked, 24 of 1024 free, node-00008: 128 MiB of memory asked, 24 of 1024 free',
    ]);
  });

  test('becomes a fault with its reasons', () => {
    const fault = refusalFault(refused([], request(1)));
    expect(fault).toMatchObject({ code: 'NoCapacity', ec2: 'InsufficientInstanceCapacity', reasons: ['the site has no VMM node'] });
  });
});
