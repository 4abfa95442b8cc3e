/** Whether the service answers. */
import { ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

export const service: Check = {
  name: 'service',
  look: ({ serving, version, config }) => (serving
    ? [ok('service', `nimbus ${version} answers; scheduler.mode is "${config.scheduler.mode}"`)]
    : [warn('service', 'no service answers at the data directory; what it would do itself is looked at from outside', 'start it: nimbus serve --config FILE --data DIR')]),
};
