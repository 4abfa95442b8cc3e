/** The sections of the configuration on a site's own code: its decision on requests, and where usage events go. */
import { z } from 'zod';
import { name, positive } from './config-types.ts';

const file = z.string().regex(/^(?:\/[^\x00-\x1f]*)?$/, 'must be an absolute path, or empty').default('');
const url = z.string().regex(/^(?:https?:\/\/[^\s]+)?$/, 'must begin with http:// or https://, or be empty').default('');

const authorization = z.strictObject({
  /** ES module that exports `decide`, or URL that is asked in its place; both empty = the policies alone decide */
  module: file,
  url,
  /** Its content is sent to `url` as bearer token */
  token_file: file,
  deadline_ms: positive.max(60_000).default(2_000),
  /** When there is no answer */
  on_failure: z.enum(['refuse', 'allow']).default('refuse'),
}).refine((a) => a.module === '' || a.url === '', 'module and url exclude each other').prefault({});

const usageSink = z.strictObject({
  /** ES module that exports `receive`, or URL to which events are posted */
  module: file,
  url,
  token_file: file,
  deadline_ms: positive.max(600_000).default(30_000),
  /** Events that wait at most; beyond, the oldest are dropped and counted */
  keep: positive.default(1_000_000),
}).refine((s) => (s.module === '') !== (s.url === ''), 'needs module or url, one of them');

export const outsideSections = { authorization, usage_sinks: z.record(name, usageSink).default({}) };

export type UsageSinkConfig = z.infer<typeof usageSink>;
