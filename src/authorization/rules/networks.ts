/** Networks that leases join. */
import { namingRule } from './naming.ts';

export const networks = namingRule('networks', (part) => part.networks);
