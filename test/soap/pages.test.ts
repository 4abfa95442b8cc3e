/** `?wsdl`: client stacks other than ours load each service from it, with all that it imports, and find every operation. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attributeOf, elementsOf, type XmlElement } from '../../src/soap/xml/tree.ts';
import { readXml } from '../../src/soap/xml/read.ts';
import { hasPart } from '../parts.ts';
import { WSDL_FOLDER } from './describe.ts';
import { startServices, type TestServer } from './server.ts';

const run = promisify(execFile);
const CLIENTS = join(import.meta.dirname, '../clients');

let s: TestServer;
beforeAll(async () => { s = await startServices(); });
afterAll(() => s.close());

const urls = (): string[] => [...s.descriptions.services.keys()].map((name) => `${s.url}${name}?wsdl`);
const operationsOf = (name: string): string[] => [...(s.descriptions.services.get(name)?.operations.keys() ?? [])].sort();
const every = (): Record<string, string[]> => Object.fromEntries([...s.descriptions.services.keys()].map((name) => [name, operationsOf(name)]));

async function get(url: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(url);
  return { status: answer.status, text: await answer.text() };
}

/** URLs that a document points to: what it imports, and where its service is. */
function locations(at: XmlElement): string[] {
  return elementsOf(at).flatMap((child) => [
    ...['location', 'schemaLocation'].flatMap((name) => attributeOf(child, name) ?? []),
    ...locations(child),
  ]);
}

describe('?wsdl', () => {
  it('every document that is pointed to is under the same server, and all of the folder is', async () => {
    const seen = new Set<string>();
    const queue = urls();
    for (let url = queue.pop(); url !== undefined; url = queue.pop()) {
      if (seen.has(url)) continue;
      seen.add(url);
      const { status, text } = await get(url);
      expect([url, status]).toEqual([url, 200]);
      for (const to of locations(readXml(text))) {
        expect(to).toMatch(new RegExp(`^${s.url}\\w+(?:\\?(?:wsdl|xsd)=[\\w/.]+)?$`));
        if (to.includes('?')) queue.push(to);
      }
    }
    const reached = new Set([...seen].map((url) => url.replace(/^.*=/, '')));
    const files = readdirSync(WSDL_FOLDER, { recursive: true, encoding: 'utf8' }).filter((f) => /\.(?:xsd|wsdl)$/.test(f) && !f.endsWith('_service.wsdl') && !f.startsWith('ec2/'));
    // No message imports these: properties of endpoint references, and what notifications carry.
    expect(files.filter((f) => !reached.has(f)).sort()).toEqual(['wsrf/keys.xsd', 'wsrf/notification_value.xsd']);
  });

  it('the service is where the client found it', async () => {
    const { text } = await get(`${s.url}WorkspaceService?wsdl`);
    expect(locations(readXml(text))).toContain(`${s.url}WorkspaceService`);
    const answer = await fetch(`http://localhost:${s.port}/wsrf/services/WorkspaceGroupService?WSDL`);
    expect(locations(readXml(await answer.text()))).toContain(`http://localhost:${s.port}/wsrf/services/WorkspaceGroupService`);
  });

  it.each(['xsd', 'wsdl=nothing.wsdl', 'xsd=../package.json', 'xsd=workspace/../../package.json', 'xsd=/etc/passwd', 'wsdl=', 'other'])('?%s is not there', async (query) => {
    expect((await get(`${s.url}WorkspaceService?${query}`)).status).toBe(404);
  });
});

describe('client stacks', () => {
  it.skipIf(!hasPart('soapjs'))('soap (npm) finds every operation', async () => {
    interface SoapModule { createClientAsync(url: string): Promise<{ describe(): Record<string, Record<string, Record<string, unknown>>> }> }
    const { createClientAsync } = createRequire(join(CLIENTS, 'package.json'))('soap') as SoapModule;
    const found: Record<string, string[]> = {};
    for (const url of urls()) {
      const description = (await createClientAsync(url)).describe();
      for (const [service, ports] of Object.entries(description)) found[service] = Object.values(ports).flatMap((p) => Object.keys(p)).sort();
    }
    expect(found).toEqual(every());
  });

  it.skipIf(!hasPart('zeep'))('zeep (Python) finds every operation, its types, action and faults', async () => {
    interface Found { address: string; action: string; input: string; output: string | null; faults: string[] }
    const { stdout } = await run('/usr/bin/python3', [join(CLIENTS, 'zeep/operations.py'), ...urls()], { timeout: 60_000 });
    const byUrl = JSON.parse(stdout) as Record<string, Record<string, Found>>;
    for (const [name, service] of s.descriptions.services) {
      const found = byUrl[`${s.url}${name}?wsdl`] ?? {};
      expect(Object.keys(found).sort()).toEqual(operationsOf(name));
      for (const o of service.operations.values()) {
        expect(found[o.name]).toMatchObject({ address: `${s.url}${name}`, action: o.action, faults: [...o.faults.keys()].sort() });
      }
    }
    const created = byUrl[`${s.url}WorkspaceFactoryService?wsdl`]?.['create'];
    expect(created?.input).toContain('partOfEnsemble: xsd:boolean, ensembleEPR:');
    expect(created?.output).toContain('CreatedWorkspace:');
  });

  it.skipIf(!hasPart('axis'))('Axis 1 makes its classes of every service', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'axis-'));
    const jars = ['axis', 'jaxrpc', 'saaj', 'wsdl4j', 'commons-discovery', 'commons-logging', 'javax.mail', 'javax.activation'].map((jar) => `/usr/share/java/${jar}.jar`);
    try {
      for (const [name, service] of s.descriptions.services) {
        await run('java', ['-cp', jars.join(':'), 'org.apache.axis.wsdl.WSDL2Java', '-O', '30', '-o', join(scratch, name), `${s.url}${name}?wsdl`], { timeout: 60_000 });
        const files = readdirSync(join(scratch, name), { recursive: true, encoding: 'utf8' });
        const stub = files.find((f) => f.endsWith(`/${service.portType.local}SOAPBindingStub.java`));
        const text = stub === undefined ? '' : readFileSync(join(scratch, name, stub), 'utf8');
        expect([...text.matchAll(/oper\.setName\("(\w+)"\)/g)].map((m) => m[1]).sort(), name).toEqual(operationsOf(name));
      }
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
});
