/** Most cores at once. */
import { countingRule } from './counting.ts';

export const cores = countingRule({ bound: 'cores', extensions: false, used: (a) => a.use.cores, each: (part) => part.cores });
