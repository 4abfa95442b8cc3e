/** Most memory at once. */
import { countingRule } from './counting.ts';

export const memory = countingRule({ bound: 'memory_mb', unit: 'MiB', extensions: false, used: (a) => a.use.memoryMb, each: (part) => part.memoryMb });
