// Writes the table of docs/protocols/ec2.md from the table of EC2 actions: `npm run docs:ec2`.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { tableOfActions } from './ec2-table.mjs';

const BEGIN = '<!-- actions: made by npm run docs:ec2 -->';
const END = '<!-- end of actions -->';

/** Said of all actions at once. */
const OF_ALL = ['DryRun', 'Filter'];

/** `{ Tag: list(struct({ Key, Value })) }` → `Tag.N.Key`, `Tag.N.Value`; `*` marks what must be there. */
function flatten(inputs, prefix, must, found) {
  for (const [name, input] of Object.entries(inputs)) {
    if (prefix === '' && OF_ALL.includes(name)) continue;
    let [path, inner] = [prefix + name, input];
    while (inner.item !== undefined) [path, inner] = [`${path}.N`, inner.item];
    if (inner.refusal !== undefined) found.refused.push([path, inner.refusal]);
    else if (inner.fields === undefined) found.honoured.push(`\`${path}\`${must && input.required ? '*' : ''}`);
    else {
      flatten(inner.fields, `${path}.`, must && input.required, found);
      found.ignored.push(...(inner.ignored ?? []).map((part) => `\`${path}.${part}\``));
    }
  }
  return found;
}

function section(operation, faults) {
  const { honoured, ignored, refused } = flatten(operation.input, '', true, { honoured: [], ignored: operation.ignored.map((n) => `\`${n}\``), refused: [] });
  const errors = operation.errors.map((code) => `\`${faults[code].ec2}\``);
  return [
    `### ${operation.name}`, '',
    `${operation.summary} ${operation.soap === undefined ? 'Query only.' : `SOAP since ${operation.soap.since}.`}`, '',
    `- Parameters: ${[...honoured, ...(operation.input.Filter === undefined ? [] : ['filters'])].join(', ') || 'none'}`,
    ...(ignored.length === 0 ? [] : [`- Read over: ${[...ignored].sort().join(', ')}`]),
    ...refused.map(([path, sentence]) => `- Refused: \`${path}\`. ${sentence}`),
    `- Answer: ${Object.keys(operation.output).map((n) => `\`${n}\``).join(', ')}`,
    ...(errors.length === 0 ? [] : [`- Errors: ${[...new Set(errors)].join(', ')}`]),
  ].join('\n');
}

/** The page with the part about the actions replaced; what people wrote around it stays. */
export function ec2Page(page, operations, faults) {
  const all = [...operations].sort((a, b) => (a.name < b.name ? -1 : 1));
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`the page has no place between "${BEGIN}" and "${END}"`);
  return `${page.slice(0, from)}${BEGIN}\n${all.map((o) => section(o, faults)).join('\n\n')}\n${page.slice(to)}`;
}

async function main() {
  const { operations, faults } = await tableOfActions();
  const target = new URL('../docs/protocols/ec2.md', import.meta.url);
  writeFileSync(target, ec2Page(readFileSync(target, 'utf8'), operations, faults));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
