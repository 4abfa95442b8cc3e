/** What runs on simulated nodes: the product's agent and pilot, bundled apart from the service so that each process has its own. */
export { openAgent } from '../../../src/control/agent/open.ts';
export { parseAgentConfig } from '../../../src/control/agent/config.ts';
export { Ending } from '../../../src/pilot/program/ending.ts';
export { parseConfig } from '../../../src/pilot/program/config.ts';
export { readArguments } from '../../../src/pilot/program/args.ts';
export { runReserve } from '../../../src/pilot/program/run-reserve.ts';
export { recoverNode } from '../../../src/pilot/program/recover.ts';
