import type { Command } from 'commander';
import type { Finding, Level } from '../../doctor/types.ts';
import { dataDirOf, envOf, type CliDeps, type Env } from '../env.ts';
import { SomeFailed, Unreachable } from '../exit.ts';
import { wrapped } from '../format.ts';
import { printable } from '../io.ts';

export function addDoctorCommand(program: Command, deps: CliDeps): void {
  program.command('doctor')
    .description('look whether everything that the service needs is there, and say how to mend what is not')
    .option('--config <file>', 'configuration to look at while no service runs')
    .addHelpText('after', `
Examples:
  nimbus doctor
  nimbus doctor --config /etc/nimbus.toml --json

A running service looks at itself, with its own configuration. Nothing is
changed. Exit code 1 when something fails.`)
    .action(async (o: { config?: string }, command: Command) => {
      const env = envOf(command, deps);
      const findings = await look(env, { config: o.config, data: dataDirOf(command, deps.env) });
      env.say(findings, findings.map((f) => text(f, env.io.width)).join('') + total(findings));
      const failed = findings.filter((f) => f.level === 'fail').length;
      if (failed > 0) throw new SomeFailed(`${failed} failed`);
    });
}

async function look(env: Env, place: { config: string | undefined; data: string }): Promise<readonly Finding[]> {
  try {
    return await env.client.get<Finding[]>('/v1/doctor', {}, { long: true });
  } catch (e) {
    if (!(e instanceof Unreachable && e.absent)) throw e;
    return env.withoutService.doctor(place);
  }
}

const WORD: Readonly<Record<Level, string>> = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL', note: 'note' };

const INDENT = '      ';

function text(f: Finding, width: number): string {
  const [first = '', ...rest] = wrapped(printable(`${f.check}: ${f.what}`), width - INDENT.length);
  // What is indented is to be copied as it stands.
  const mend = f.mend.map(printable).flatMap((m) => (m.startsWith('  ') ? [m] : wrapped(m, width - INDENT.length)));
  return [`${WORD[f.level]}  ${first}`, ...[...rest, ...mend].map((l) => INDENT + l)].map((l) => `${l}\n`).join('');
}

function total(findings: readonly Finding[]): string {
  const count = (level: Level): number => findings.filter((f) => f.level === level).length;
  return `\n${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed\n`;
}
