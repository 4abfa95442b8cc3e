/** The blocks of docs/clients.md by which each client leases a first VM, typed as they stand. Replaced is the port only. */
import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasPart, type Part } from '../parts.ts';
import { startServe, type Serve } from '../support/serve.ts';
import { blocks, pageOf, ROOT } from './pages.ts';

const run = promisify(execFile);
const [, SECTION = ''] = /\n## Endpoint and credentials\n([^]*?)\n## /.exec(pageOf('docs/clients.md')) ?? [];
/** By the bold name before the block. */
const EXAMPLES = [...SECTION.matchAll(/^\*\*(.+?)\*\*[^\n]*(?:\n[^\n`*]+)*\n\n(```[^]*?\n```)$/gm)].map(([, name = '', text = '']) => {
  const [block] = blocks({ file: name, text });
  return { name, language: block?.language ?? '', text: block?.text ?? '' };
});
const NEEDS: Record<string, readonly Part[]> = {
  aws: ['awscli'], boto3: ['boto3'], 'boto 2': ['boto2'], 'AWS SDK for JavaScript 3': [], 'AWS SDK for JavaScript 2': ['awssdk2'],
  // It waits for an address, which a simulated VM has not.
  libcloud: ['libcloud', 'qemu'],
  'VM::EC2': ['vmec2'], 'Net::Amazon::EC2': ['netamazonec2'], fog: ['fog'], 'amazon-ec2': ['amazonec2'], 'AWS SDK for Ruby 1': ['awssdkruby'], 'right_aws': ['rightaws'],
};
const PROGRAMS: Record<string, readonly string[]> = {
  sh: ['/bin/bash', '-O', 'expand_aliases', '-eu', '-o', 'pipefail'], python: ['/usr/bin/python3', '-W', 'ignore'], js: [process.execPath], perl: ['/usr/bin/perl', '-w'], ruby: ['/usr/bin/ruby', '-W0'],
};
const RUN_MS = 180_000;

let serve: Serve;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  serve = await startServe('');
  const keys = await serve.user('ada');
  env = {
    PATH: '/usr/bin:/bin', HOME: serve.root, LC_ALL: 'C.UTF-8', PYTHONDONTWRITEBYTECODE: '1', AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey,
    AWS_DEFAULT_REGION: 'nimbus', AWS_EC2_METADATA_DISABLED: 'true', AWS_PAGER: '',
  };
});
afterAll(async () => { expect(await serve.stop()).toBe(0); });

/** Packages of JavaScript are searched beside the file. */
function place(name: string, { language, text }: { language: string; text: string }): string {
  const dir = join(serve.root, name.replaceAll(/\W+/g, '-'));
  mkdirSync(dir);
  if (language === 'js') symlinkSync(join(ROOT, NEEDS[name]?.includes('awssdk2') === true ? 'test/clients/node_modules' : 'node_modules'), join(dir, 'node_modules'));
  const file = join(dir, language === 'js' ? 'example.mjs' : 'example');
  writeFileSync(file, text.replaceAll('8444', new URL(serve.ec2).port));
  return file;
}

describe('the first VM of each client', () => {
  it('has its block on the page', () => {
    expect(EXAMPLES.map((e) => e.name)).toEqual(Object.keys(NEEDS));
  });

  for (const example of EXAMPLES) {
    it.skipIf(NEEDS[example.name]?.every(hasPart) !== true)(`${example.name}: is leased and ended`, { timeout: 2 * RUN_MS }, async () => {
      const leases = (): Promise<Array<{ id: string; state: string }>> => serve.admin('lease', 'list', '--all');
      const before = new Set((await leases()).map((l) => l.id));
      const [program = '', ...options] = PROGRAMS[example.language] ?? [];
      const { stdout } = await run(program, [...options, place(example.name, example)], { env, timeout: RUN_MS });
      const made = (await leases()).filter((l) => !before.has(l.id));
      expect(made).toHaveLength(1);
      expect(stdout).toContain(made[0]?.id);
      await expect.poll(async () => (await leases()).find((l) => l.id === made[0]?.id)?.state, { timeout: 60_000 }).toBe('Terminated');
    });
  }
});
