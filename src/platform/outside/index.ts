/** What the configuration names: a module or a URL. */
import type { Context } from '../context.ts';
import { createHttpCallback } from './http.ts';
import { createOutsideModule, type OutsideModule } from './module.ts';
import type { Outside } from './types.ts';

export { OutsideFailed, type Outside } from './types.ts';

export interface OutsideConfig {
  readonly module: string;
  readonly url: string;
  readonly token_file: string;
  readonly deadline_ms: number;
}

export const isNamed = (c: OutsideConfig): boolean => c.module !== '' || c.url !== '';

/** @param exported name of the module's function */
export function createOutside(ctx: Context, c: OutsideConfig, exported: string): Outside & Partial<Pick<OutsideModule, 'load'>> {
  return c.module === ''
    ? createHttpCallback(ctx, { url: c.url, tokenFile: c.token_file, deadlineMs: c.deadline_ms })
    : createOutsideModule(ctx, { file: c.module, exported, deadlineMs: c.deadline_ms });
}
