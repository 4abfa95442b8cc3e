// `npm test`: build, source checks, types, tests. Arguments go to vitest (a path runs those tests only). The last line
// counts the tests; what this machine lacks is named before it, and with NIMBUS_ALL_PARTS=1 it is a failure.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { unseenActions } from './ec2-seen.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const failed = [];

function step(name, args) {
  console.log(`\n== ${name}`);
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env: { ...process.env, NIMBUS_EC2_SEEN: seen } });
  if (status !== 0) failed.push(name);
}

function counts(report) {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const broken = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
  return { passed: numPassedTests, failed: numFailedTests + broken, skipped: numPendingTests + numTodoTests };
}

async function missingParts() {
  // The bundle has no place of its own, but looks for parts below the one that it was made from.
  const define = { 'import.meta.dirname': JSON.stringify(join(root, 'test')) };
  const { outputFiles: [file] } = await build({ entryPoints: [join(root, 'test/parts.ts')], bundle: true, platform: 'node', format: 'esm', write: false, define });
  const parts = await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`);
  return parts.missingParts();
}

const scratch = mkdtempSync(join(tmpdir(), 'nimbus-test-'));
const report = join(scratch, 'report.json');
const seen = join(scratch, 'ec2-seen');
mkdirSync(seen);
let tests = { passed: 0, failed: 0, skipped: 0 };
try {
  step('build', ['tools/build.mjs', '--quiet']);
  step('floors and lint', ['tools/lint.mjs']);
  step('types', ['node_modules/typescript/bin/tsc', '--noEmit']);
  step('tests', ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...process.argv.slice(2)]);
  tests = counts(report);
  const unseen = process.argv.length > 2 ? [] : await unseenActions(seen);
  if (unseen.length > 0) failed.push('EC2 actions');
  if (unseen.length > 0) console.log(`\n${unseen.join('\n')}`);
} catch (e) {
  // The tests did not get as far as a report; what they said of it stands above.
  console.error(`there is no report of the tests: ${e.message}`);
  failed.push('report');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const missing = await missingParts();
if (missing.length > 0) console.log(`\n${missing.join('\n')}`);
if (missing.length > 0 && process.env.NIMBUS_ALL_PARTS === '1') failed.push('parts');
// Nor may a test be left out by itself.
if (tests.skipped > 0 && process.env.NIMBUS_ALL_PARTS === '1') failed.push('skipped tests');
if (failed.length > 0) console.log(`\nFAILED: ${failed.join(', ')}`);
console.log(`${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`);
process.exitCode = failed.length > 0 || tests.failed > 0 ? 1 : 0;
