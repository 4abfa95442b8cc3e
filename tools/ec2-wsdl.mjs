// Writes wsdl/ec2/ec2-VERSION.wsdl from the table of EC2 operations: `npm run wsdl:ec2`. The service itself writes what it serves.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Where the service listens unless it is told otherwise. */
const ADDRESS = 'http://127.0.0.1:8444/';
const root = new URL('..', import.meta.url);

/** File name → text. */
export function wsdlFiles({ SOAP_TABLES, wsdlText }) {
  return new Map([...SOAP_TABLES.values()].map((table) => [`ec2-${table.version}.wsdl`, wsdlText(table, ADDRESS)]));
}

async function main() {
  const contents = `export { SOAP_TABLES } from './src/ec2/soap/versions.ts'; export { wsdlText } from './src/ec2/soap/wsdl.ts';`;
  const { outputFiles: [file] } = await build({ stdin: { contents, resolveDir: fileURLToPath(root) }, bundle: true, platform: 'node', format: 'esm', write: false });
  const files = wsdlFiles(await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`));
  mkdirSync(new URL('wsdl/ec2/', root), { recursive: true });
  for (const [name, text] of files) writeFileSync(new URL(`wsdl/ec2/${name}`, root), text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
