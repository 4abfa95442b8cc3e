import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { BatchSystemView, NodeView } from '../../manager/admin-types.ts';
import { parseConfig, readConfig } from '../../platform/config.ts';
import { packageFile } from '../../platform/package-file.ts';
import { dataDirOf, envOf, type CliDeps } from '../env.ts';
import { time } from '../format.ts';
import { printable } from '../io.ts';
import { showNodes } from './nodes.ts';

interface Status {
  readonly version: string;
  readonly pid: number;
  readonly ec2: string;
  readonly database: string;
  readonly monitoring?: string;
  readonly batchSystem?: BatchSystemView;
  readonly nodes: readonly NodeView[];
}

export function addSiteCommands(program: Command, deps: CliDeps): void {
  program.command('serve')
    .description('run the service until SIGTERM or Ctrl-C; VMs go on without it')
    .option('--config <file>', 'TOML file; "nimbus config" prints one with every key (default: built-in defaults)')
    .option('--ready-file <file>', 'written when everything answers: JSON with ec2, pid, version')
    .addHelpText('after', '\nExamples:\n  nimbus serve\n  nimbus serve --config /etc/nimbus.toml --data /var/lib/nimbus')
    .action((o: { config?: string; readyFile?: string }, command: Command) =>
      deps.serve({ config: o.config, data: dataDirOf(command, deps.env), readyFile: o.readyFile }));

  program.command('status')
    .description('whether the service runs, where, and its nodes')
    .addHelpText('after', '\nExample:\n  nimbus status')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      const status = await env.client.get<Status>('/v1/status');
      if (env.json) {
        env.say(status, '');
        return;
      }
      env.io.out(`nimbus ${status.version}, pid ${status.pid}\nEC2       ${status.ec2}\ndatabase  ${status.database}\n${status.monitoring === undefined ? '' : `metrics   ${status.monitoring}/metrics\n`}${status.batchSystem === undefined ? '' : batchSystem(status.batchSystem)}\n`);
      showNodes(env, status.nodes);
    });

  program.command('config')
    .description('print the default configuration with comments, or check one')
    .option('--check <file>', 'check this file instead')
    .addHelpText('after', '\nExamples:\n  nimbus config > nimbus.toml\n  nimbus config --check nimbus.toml')
    .action((o: { check?: string }, command: Command) => {
      const env = envOf(command, deps);
      const text = readFileSync(packageFile('etc/nimbus.toml'), 'utf8');
      if (o.check !== undefined) env.say(readConfig(o.check, { files: true }), `${o.check} is right`);
      else env.say(env.json ? parseConfig(text, 'etc/nimbus.toml') : null, text);
    });
}

function batchSystem(b: BatchSystemView): string {
  const seen = b.lastListed === null ? 'has not answered yet' : `last listed ${time(b.lastListed)} in ${Math.round(b.listMs ?? 0)} ms`;
  const failed = b.lastFailure === null ? '' : `; last failure ${time(b.lastFailure.at)}: ${b.lastFailure.what}`;
  return `batch     ${printable(`${b.name ?? 'unknown'}, ${seen}${failed}`)}\n`;
}
