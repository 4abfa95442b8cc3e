// Writes src/ec2/action-names.ts, the names of all actions of EC2's model, from the SDK's command classes: `npm run ec2:actions`.
import { readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WIDTH = 140;

/** Names of the actions that the installed @aws-sdk/client-ec2 knows, sorted. */
export function actionNames(root) {
  return readdirSync(new URL('node_modules/@aws-sdk/client-ec2/dist-types/commands/', root))
    .flatMap((file) => /^(\w+)Command\.d\.ts$/.exec(file)?.[1] ?? []).sort();
}

/** The source file that holds them. */
export function actionNamesFile(names) {
  const lines = [''];
  for (const name of names) {
    if (lines.at(-1).length + name.length + 3 > WIDTH) lines.push('');
    lines[lines.length - 1] += ` ${name}`;
  }
  return `/** Names of all actions of EC2's API 2016-11-15; made by \`npm run ec2:actions\`, never by hand. */
const NAMES = \`
${lines.map((l) => ` ${l}`).join('\n')}
\`;

export const ACTION_NAMES: ReadonlySet<string> = new Set(NAMES.trim().split(/\\s+/));
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL('..', import.meta.url);
  writeFileSync(new URL('src/ec2/action-names.ts', root), actionNamesFile(actionNames(root)));
}
