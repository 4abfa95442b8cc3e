/** Runs the simulator as a program, as `npm run sim` does. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface SeedLine {
  readonly seed: number;
  readonly digest: string;
  readonly story: string;
  readonly ran: number;
  readonly saved: number;
  readonly told: number;
  readonly displaced: number;
  readonly violations: ReadonlyArray<{ readonly says: string; readonly of: string }>;
  readonly again: string;
}

export interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export function runSim(...args: readonly string[]): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['tools/sim.mjs', ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); });
    child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString(); });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

export async function seeds(...args: readonly string[]): Promise<SeedLine[]> {
  const { out, err } = await runSim('--json', ...args);
  expect(err).toBe('');
  return out.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as SeedLine);
}

/** Every seed that broke a rule, with the command line that makes it again. */
export const brokenOnes = (lines: readonly SeedLine[]): string[] => lines.filter((l) => l.violations.length > 0).map((l) => `${l.again}\n  ${l.violations.map((v) => `${v.says}: ${v.of}`).join('\n  ')}`);
