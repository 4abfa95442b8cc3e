// Writes the table of docs/errors.md from src/lease/faults.ts: `npm run docs:errors`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const BEGIN = '<!-- table: made by npm run docs:errors -->';
const END = '<!-- end of table -->';
const INTRODUCTION = `# Errors

Every refusal has one code, whatever door it leaves by. EC2 clients get the EC2 code and HTTP status, grid clients the WSRF
fault, administrators (\`nimbus --json\`, the admin socket) the code itself. The message names what was refused; where
several nodes or policies refused, \`reasons\` has a sentence for each. The log has the same code under the request's id.
`;

export function errorsTable(faults) {
  const rows = Object.entries(faults).map(([code, f]) => `| \`${code}\` | \`${f.ec2}\` | ${f.http} | \`${f.wsrf}\` | ${f.meaning} |`);
  return ['| code | EC2 code | HTTP | WSRF fault | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}

/** The page with its table replaced; what people wrote around it stays. */
export function errorsPage(page, faults) {
  const table = `${BEGIN}\n${errorsTable(faults)}\n${END}`;
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  return from < 0 || to < 0 ? `${page.trimEnd()}\n\n${table}\n` : page.slice(0, from) + table + page.slice(to + END.length);
}

async function main() {
  const root = new URL('..', import.meta.url);
  const { outputFiles: [file] } = await build({ entryPoints: [fileURLToPath(new URL('src/lease/faults.ts', root))], bundle: true, format: 'esm', write: false });
  const { FAULTS } = await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`);
  const target = new URL('docs/errors.md', root);
  const before = existsSync(target) ? readFileSync(target, 'utf8') : INTRODUCTION;
  writeFileSync(target, errorsPage(before, FAULTS));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
