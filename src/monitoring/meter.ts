/** What is counted while the service works, for Prometheus. Labels are words of closed lists: nothing that users name becomes one. */
import { collectDefaultMetrics, Counter, Histogram, type Registry } from 'prom-client';
import type { Meter } from '../platform/meter.ts';

/** A lease's step takes milliseconds on a node of the service's own, and hours in a queue. */
const STEP_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const ROUND_TRIP_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Agents' clocks are in some of the figures: one that lies shall not spoil the sum for good. */
const LONGEST_S = 86_400;

const seconds = (ms: number): number => Math.min(LONGEST_S, Math.max(0, ms / 1000));

export function createMeter(register: Registry): Meter {
  const registers = [register];
  collectDefaultMetrics({ register });
  const refusals = new Counter({ name: 'nimbus_refusals_total', help: 'Requests refused, by door and code.', labelNames: ['door', 'code'], registers });
  const steps = new Histogram({ name: 'nimbus_lease_step_seconds', help: 'Steps of the start and the end of leases.', labelNames: ['step'], buckets: STEP_BUCKETS, registers });
  const operations = new Histogram({ name: 'nimbus_operation_seconds', help: 'Operations on nodes, from written to answered.', labelNames: ['operation', 'outcome'], buckets: STEP_BUCKETS, registers });
  const trips = new Histogram({ name: 'nimbus_agent_round_trip_seconds', help: 'Pings of agents, of all nodes together.', buckets: ROUND_TRIP_BUCKETS, registers });
  return {
    refused: (door, code) => refusals.inc({ door, code }),
    step: (step, ms) => steps.observe({ step }, seconds(ms)),
    operation: (operation, ok, ms) => operations.observe({ operation, outcome: ok ? 'done' : 'failed' }, seconds(ms)),
    roundTrip: (ms) => trips.observe(seconds(ms)),
  };
}
