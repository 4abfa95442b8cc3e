/** Instance types. */
import { namingRule } from './naming.ts';

export const types = namingRule('types', (part) => [part.type]);
