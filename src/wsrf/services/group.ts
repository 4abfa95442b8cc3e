/** WorkspaceGroupService: the leases of one create, changed as one. */
import type { Handlers, WsrfParts } from '../call.ts';
import { changeHandlers } from './changes.ts';

export const groupHandlers = (parts: WsrfParts): Handlers => changeHandlers(parts, (call) => ({ group: call.key ?? '' }));
