/** Command lines that the pages show, parsed as the programs would, without doing anything. */
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildCli, program } from '../../src/cli/program.ts';
import { sshInstaller } from '../../src/cli/ssh-installer.ts';
import { readArguments } from '../../src/control/agent/cli/usage.ts';
import { realClock } from '../../src/platform/real.ts';
import packageFile from '../../package.json' with { type: 'json' };
import { commandLines, pageOf, pages, prose, words } from './pages.ts';

const silent = { out: () => undefined, err: () => undefined, ask: () => Promise.resolve(null), width: 80, watched: false };

/** The commander tree with every action taken out. */
function idle(): Command {
  const root = program({ clock: realClock, env: {}, io: silent, installer: sshInstaller, keyRotation: () => Promise.reject(new Error('not here')), serve: () => Promise.resolve(), withoutService: {} as never }, false);
  const still = (command: Command): void => {
    // Some that have commands below them do something by themselves; those have options.
    if (command.commands.length === 0 || (command.parent !== null && command.options.length > 0)) command.action(() => undefined);
    command.exitOverride();
    command.commands.forEach(still);
  };
  still(root);
  return root;
}

/** The words behind `name`, also after `npx`, `nohup`, `sudo …`. */
function after(name: string, line: string): string[] | undefined {
  const all = words(line);
  const at = all.indexOf(name);
  return at < 0 || !all.slice(0, at).every((w) => ['npx', 'setsid', 'nohup', 'sudo'].includes(w)) ? undefined : all.slice(at + 1);
}

const shown = (name: string): Array<{ file: string; line: string; args: string[] }> =>
  pages.flatMap((page) => commandLines(page).flatMap((line) => {
    const args = after(name, line);
    return args === undefined ? [] : [{ file: page.file, line, args }];
  }));

describe('nimbus', () => {
  it.each(shown('nimbus'))('$file: $line', async ({ args }) => {
    await expect(idle().parseAsync(args, { from: 'user' })).resolves.toBeDefined();
  });

  it.each(pages)('$file names only commands and options that exist', (page) => {
    const odd = [...prose(page).matchAll(/`nimbus ([^`]+)`/g)].filter(([, text = '']) => {
      let command = idle();
      for (const word of words(text)) {
        const next = command.commands.find((c) => c.name() === word);
        if (next !== undefined) command = next;
        else if (word.startsWith('--') && ![...command.options, ...idle().options].some((o) => o.long === word.split('=')[0])) return true;
        else if (command.commands.length > 0 && !word.startsWith('--')) return true;
      }
      return false;
    });
    expect(odd.map(([text]) => text)).toEqual([]);
  });

  it('a command that does not exist would be found', async () => {
    await expect(idle().parseAsync(['node', 'ad', 'x'], { from: 'user' })).rejects.toThrow(/unknown command/);
    await expect(idle().parseAsync(['node', 'add', 'x', '--nope'], { from: 'user' })).rejects.toThrow(/unknown option/);
    await expect(idle().parseAsync(['node', 'add'], { from: 'user' })).rejects.toThrow(/missing required argument/);
  });
});

/** Every command by its words; those with others below them only where they do something themselves. */
function leaves(command: Command, before: readonly string[] = []): string[][] {
  const own = command.parent === null || (command.commands.length > 0 && command.options.length === 0) ? [] : [[...before]];
  return [...own, ...command.commands.flatMap((c) => leaves(c, [...before, c.name()]))];
}

/** As it stands on a terminal of 80 columns. */
async function help(words: readonly string[]): Promise<string> {
  let text = '';
  const notHere = (): Promise<never> => Promise.reject(new Error('not here'));
  const cli = buildCli({ io: { ...silent, out: (t) => { text += t; } }, env: {}, serve: notHere, withoutService: {} as never });
  expect(await cli.run(['node', 'nimbus', ...words, '--help'])).toBe(0);
  return text;
}

describe('help', () => {
  it.each(leaves(idle()).map((words) => [words.join(' '), words] as const))('nimbus %s --help has examples of it, and no line that a terminal breaks', async (name, words) => {
    const lines = (await help(words)).split('\n');
    expect(lines.filter((l) => l.startsWith(`  nimbus ${name}`))).not.toEqual([]);
    expect(lines.filter((l) => [...l].length > 80)).toEqual([]);
  });
});

it.each(shown('workspace-control'))('$file: $line', ({ args }) => {
  expect(() => readArguments(args, {})).not.toThrow();
});

describe('npm scripts', () => {
  it.each(pages)('$file names only scripts that exist', ({ text }) => {
    const named = [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !Object.hasOwn(packageFile.scripts, name))).toEqual([]);
  });

  it('the two commands of the README are the package\'s', () => {
    expect(commandLines({ file: 'README.md', text: pageOf('README.md') })).toEqual(expect.arrayContaining(['npm run demo', 'npm test']));
    expect(packageFile.scripts).toHaveProperty('demo');
    expect(packageFile.scripts).toHaveProperty('test');
  });
});

it('docs/dependencies.md has a line for each dependency', () => {
  const { dependencies, optionalDependencies, devDependencies } = packageFile;
  const listed = [...pageOf('docs/dependencies.md').matchAll(/^\| (`.+?`) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  expect(listed.sort()).toEqual(Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies }).sort());
});
