/** What is looked up when Prometheus asks: the site as the table has it, and this process. */
import { Gauge, type Registry } from 'prom-client';
import type { SiteFigures } from '../manager/figures.ts';

/** Of this process. */
export interface ProcessFigures {
  /** Connections to the database. */
  readonly pool: { readonly total: number; readonly idle: number; readonly waiting: number };
  /** Reports of agents that wait to be written. */
  readonly reports: number;
  /** Operations that were handed to nodes and are not answered. */
  readonly underWay: number;
}

export interface Gauges {
  /** Null: the database did not answer. Nothing is said of the site then, rather than something old. */
  set(site: SiteFigures | null, process: ProcessFigures): void;
}

export function createGauges(register: Registry, version: string): Gauges {
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) => new Gauge({ name: `nimbus_${name}`, help, labelNames: [...labelNames], registers: [register] });
  gauge('info', 'The version that runs.', ['version']).set({ version }, 1);
  const database = gauge('database_up', '1 when the database answered this look.');
  const connections = gauge('database_connections', 'Connections of this process to the database.', ['state']);
  const reports = gauge('reports_waiting', 'Reports of agents that wait to be written by this process.');
  const underWay = gauge('operations_under_way', 'Operations that this process has handed to nodes and that are not answered.');
  const site = siteGauges(gauge);
  return {
    set(figures, own) {
      database.set(figures === null ? 0 : 1);
      const { total, idle, waiting } = own.pool;
      for (const [state, n] of [['busy', total - idle], ['idle', idle], ['waiting', waiting]] as const) connections.set({ state }, n);
      reports.set(own.reports);
      underWay.set(own.underWay);
      site(figures);
    },
  };
}

type MakeGauge = <Label extends string>(name: string, help: string, labelNames?: readonly Label[]) => Gauge<Label>;

function siteGauges(gauge: MakeGauge): (figures: SiteFigures | null) => void {
  const leases = gauge('leases', 'Live leases.', ['state']);
  const intents = gauge('intents_waiting', 'Operations on nodes that are written and not done.', ['operation']);
  const oldest = gauge('intent_oldest_seconds', 'Age of the one that has waited longest.', ['operation']);
  const nodes = gauge('nodes', 'VMM nodes.', ['zone', 'kind', 'state']);
  const memory = gauge('node_memory_mebibytes', 'Memory of VMM nodes for leases.', ['zone', 'kind', 'what']);
  const cores = gauge('node_cores', 'Cores of VMM nodes for leases.', ['zone', 'kind', 'what']);
  const addresses = gauge('pool_addresses', 'Addresses of networks.', ['network', 'what']);
  const slots = gauge('slots', 'Live slots of the batch system.', ['state']);
  const sinks = gauge('usage_sink_failures', 'Deliveries to an accounting sink that failed since it last took one.', ['sink']);
  const all = [leases, intents, oldest, nodes, memory, cores, addresses, slots, sinks];
  return (figures) => {
    // What is no more is not said again.
    for (const g of all) g.reset();
    for (const r of figures?.leases ?? []) leases.set({ state: r.state }, r.leases);
    for (const r of figures?.intents ?? []) {
      intents.set({ operation: r.kind }, r.waiting);
      oldest.set({ operation: r.kind }, r.oldest_s);
    }
    for (const r of figures?.nodes ?? []) {
      const of = { zone: r.zone, kind: r.borrowed ? 'borrowed' : 'own' };
      for (const state of ['up', 'down', 'drained'] as const) nodes.set({ ...of, state }, r[state]);
      for (const [what, mb, n] of [['total', r.memory_mb, r.cores], ['used', r.memory_used, r.cores_used]] as const) {
        memory.set({ ...of, what }, mb);
        cores.set({ ...of, what }, n);
      }
    }
    for (const r of figures?.pools ?? []) {
      addresses.set({ network: r.network, what: 'total' }, r.addresses);
      addresses.set({ network: r.network, what: 'used' }, r.in_use);
    }
    for (const r of figures?.sinks ?? []) sinks.set({ sink: r.sink }, r.attempts);
    for (const r of figures?.slots ?? []) slots.set({ state: r.state }, r.slots);
  };
}
