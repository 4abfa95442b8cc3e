/** Placing one VM on 10,000 nodes (target 1 ms), for sites of several shapes; and telling why there is no room. */
import { plan } from '../src/scheduler/plan.ts';
import { Pool } from '../src/scheduler/pool.ts';
import { isRefusal, STRATEGIES, type PlanRequest, type PoolNode } from '../src/scheduler/types.ts';
import { median } from './support/service.ts';

const NODES = 10_000;
const RUNS = 500;
const GIB = 1024;

const SITES: Readonly<Record<string, (i: number) => Partial<PoolNode>>> = {
  'all empty': () => ({}),
  'three sizes, partly used': (i) => ({ memoryMb: [32, 64, 128][i % 3]! * GIB, memoryUsed: (i * 1280) % (32 * GIB), coresUsed: i % 32 }),
  'full but for a few': (i) => (i % 1000 === 0 ? {} : { memoryUsed: 64 * GIB }),
  'memory left, cores used up': (i) => (i % 1000 === 0 ? {} : { memoryUsed: 16 * GIB, coresUsed: 32 }),
  'every node of another size': (i) => ({ memoryMb: 64 * GIB + i, memoryUsed: i }),
  'full': () => ({ memoryUsed: 64 * GIB }),
};
const request: PlanRequest = { memoryMb: 128, cores: 1, networks: ['public'], minCount: 1, maxCount: 1 };

function site(facts: (i: number) => Partial<PoolNode>): Pool {
  return new Pool(Array.from({ length: NODES }, (_, i) => ({
    id: i, name: `node-${i}`, zone: 'default', memoryMb: 64 * GIB, cores: 32, memoryUsed: 0, coresUsed: 0, networks: ['*'],
    active: true, reachable: true, ...facts(i),
  })));
}

for (const [name, facts] of Object.entries(SITES)) {
  for (const strategy of STRATEGIES) {
    const pool = site(facts);
    const times = Array.from({ length: RUNS }, () => {
      const start = performance.now();
      const answer = plan(pool, request, strategy);
      if (!isRefusal(answer)) pool.apply(answer, request);
      return performance.now() - start;
    });
    const worst = [...times].sort((a, b) => a - b)[Math.floor(RUNS * 0.99)] ?? NaN;
    console.log(`placement: ${median(times).toFixed(3)} ms median, ${worst.toFixed(3)} ms at 99 % (target 1 ms): ${NODES} nodes, ${name}, ${strategy}`);
  }
}
