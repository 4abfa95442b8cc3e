/** What the services share: who asks, and the manager. */
import type { FullManager } from '../manager/index.ts';
import type { Caller } from '../manager/types.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import type { SoapCall, SoapHandler } from '../soap/types.ts';

export type WsrfManager = Pick<FullManager, 'workspaces' | 'subscriptions' | 'leases'>;

export interface WsrfParts {
  readonly ctx: Context;
  readonly config: Config;
  readonly manager: WsrfManager;
}

export type Call = SoapCall<Caller>;
export type Handlers = Readonly<Record<string, SoapHandler<Caller>>>;
