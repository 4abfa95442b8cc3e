/** The sections of the configuration on a site's own code: its decision on requests, and where usage events go. */
import { z } from 'zod';
import { file, positive } from './config-types.ts';

const url = z.string().refine((v) => v === '' || (/^https?:\/\/\S+$/.test(v) && URL.canParse(v)), 'must be http://HOST:PORT/PATH or https://HOST:PORT/PATH, or empty').default('');

const authorization = z.strictObject({
  /** ES module that exports `decide`, or URL that is asked in its place; both empty = the policies alone decide */
  module: file.default(''),
  url,
  /** Its content is sent to `url` as bearer token */
  token_file: file.default(''),
  deadline_ms: positive.max(60_000).default(2_000),
  /** When there is no answer */
  on_failure: z.enum(['refuse', 'allow']).default('refuse'),
}).prefault({});

const usageSink = z.strictObject({
  /** ES module that exports `receive`, or URL to which events are posted */
  module: file.default(''),
  url,
  token_file: file.default(''),
  deadline_ms: positive.max(600_000).default(30_000),
  /** Events that wait at most; beyond, the oldest are dropped and counted */
  keep: positive.default(1_000_000),
});

export const outsideSections = { authorization, usage_sinks: z.record(z.string(), usageSink).default({}) };

export type UsageSinkConfig = z.infer<typeof usageSink>;
