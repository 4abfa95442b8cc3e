/** What a create cannot have here: each by its fault, with a sentence, and nothing made. The table of docs/protocols/wsrf.md has a line for each. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createBody } from '../support/grid-requests.ts';
import { ask, openWsrfSite, type WsrfSite } from './door.ts';

let wsrf: WsrfSite;
beforeAll(async () => { wsrf = await openWsrfSite(); });
afterAll(() => wsrf?.close());

const BODY = createBody({ image: 'base.img', memoryMb: 64 });
const behind = (part: string, more: string) => (body: string): string => body.replace(part, () => `${part}${more}`);
const before = (part: string, more: string) => (body: string): string => body.replace(part, () => `${more}${part}`);
const optional = (more: string) => before('</create>', `<t:optionalParameters>${more}</t:optionalParameters>`);
const disk = (name: string): string => `<d:${name}><d:location>file://x</d:location><d:mountAs>sda2</d:mountAs></d:${name}>`;
const nic = (config: string, more = '') => behind('</m:name>', `<l:logistics xmlns:l="http://www.globus.org/2008/06/workspace/metadata/logistics"><l:networking><l:nic><l:name>eth0</l:name>${more}<l:ipConfig>${config}</l:ipConfig></l:nic></l:networking></l:logistics>`);
const transfer = '<t:sourceURL>http://x/</t:sourceURL><t:destURL>http://y/</t:destURL>';
const epr = '<a:Address xmlns:a="http://schemas.xmlsoap.org/ws/2004/03/addressing">http://x/</a:Address>';

const REFUSED: ReadonlyArray<readonly [what: string, change: (body: string) => string, fault: string, says: RegExp]> = [
  ['kernel', before('</d:requirements>', '<d:kernel><d:image>file://k</d:image></d:kernel>'), 'WorkspaceCreationFault', /kernel of their image/],
  ['partition', behind('</d:rootVBD>', disk('partition')), 'WorkspaceCreationFault', /one disk/],
  ['blankspacePartition', behind('</d:rootVBD>', '<d:blankspacePartition><d:partitionName>p</d:partitionName><d:mountAs>sda2</d:mountAs></d:blankspacePartition>'), 'WorkspaceCreationFault', /one disk/],
  ['Storage', before('</n:ResourceAllocation>', '<n:Storage><n:entry><n:partitionName>p</n:partitionName><j:IndividualDiskSpace><j:Exact>1</j:Exact></j:IndividualDiskSpace></n:entry></n:Storage>'), 'WorkspaceMetadataFault', /no blank partition/],
  ['RAM', behind('</d:rootVBD>', disk('RAM')), 'WorkspaceMetadataFault', /serialized/],
  ['swap', behind('</d:rootVBD>', disk('swap')), 'WorkspaceMetadataFault', /serialized/],
  ['AcceptAndConfigure', nic('<l:acquisitionMethod>AcceptAndConfigure</l:acquisitionMethod><l:ipAddress>10.0.0.1</l:ipAddress>'), 'WorkspaceResourceRequestDeniedFault', /chooses addresses/],
  ['Advisory', nic('<l:acquisitionMethod>Advisory</l:acquisitionMethod>'), 'WorkspaceResourceRequestDeniedFault', /chooses addresses/],
  ['MAC', nic('<l:acquisitionMethod>AllocateAndConfigure</l:acquisitionMethod>', '<l:MAC>A2:AA:BB:00:00:01</l:MAC>'), 'WorkspaceCreationFault', /chooses MAC/],
  ['AllocateAndConfigure', nic('<l:acquisitionMethod>AllocateAndConfigure</l:acquisitionMethod><l:ipAddress>10.0.0.1</l:ipAddress>'), 'WorkspaceCreationFault', /cannot be given too/],
  ['Unstaged', (b) => b.replace('>Running<', '>Unstaged<'), 'WorkspaceMetadataFault', /nothing is staged/],
  ['stageIn', optional(`<t:stageIn>${transfer}</t:stageIn>`), 'WorkspaceCreationFault', /staging/],
  ['stageOut', optional(`<t:stageOut>${transfer}</t:stageOut>`), 'WorkspaceCreationFault', /staging/],
  ['Serialize', behind('</n:NodeNumber>', '<n:ShutdownMechanism>Serialize</n:ShutdownMechanism>'), 'WorkspaceCreationFault', /serialized/],
  ['Trash', behind('</n:NodeNumber>', '<n:ShutdownMechanism>Trash</n:ShutdownMechanism><n:PostShutdown><n:rootPartitionUnpropagationTarget>file://x</n:rootPartitionUnpropagationTarget></n:PostShutdown>'), 'WorkspaceCreationFault', /thrown away/],
  ['credentialToCopy', optional('<t:credentialToCopy>x</t:credentialToCopy>'), 'WorkspaceCreationFault', /no credential is needed/],
  ['contextualization', behind('</m:name>', '<l:logistics xmlns:l="http://www.globus.org/2008/06/workspace/metadata/logistics"><l:contextualization/></l:logistics>'), 'WorkspaceCreationFault', /no context broker/],
  ['contextEPR', before('</create>', `<t:contextEPR>${epr}</t:contextEPR>`), 'WorkspaceCreationFault', /no context broker/],
  ['lockContext', before('</create>', '<t:lockContext>true</t:lockContext>'), 'WorkspaceCreationFault', /no context broker/],
  ['VMM', before('</d:requirements>', '<d:VMM><d:type>VMware</d:type></d:VMM>'), 'WorkspaceResourceRequestDeniedFault', /not offered/],
  ['architecture', (b) => b.replace('>x86<', '>sparc<'), 'WorkspaceResourceRequestDeniedFault', /not offered/],
];

it.each(REFUSED)('%s', async (_, change, fault, says) => {
  const body = change(BODY);
  expect(body).not.toBe(BODY);
  const { status, text } = await ask(wsrf, 'WorkspaceFactoryService', body);
  expect(status, text).toBe(500);
  expect(/<faultcode>[^<]*<\/faultcode>.*?<detail>\s*<(?:\w+:)?(\w+)/s.exec(text)?.[1], text).toBe(fault);
  expect(text).toMatch(says);
  expect(await wsrf.site.manager.workspaces.list(wsrf.site.alice)).toEqual([]);
});

it('is what the protocol’s page says, and the rest of the body is good', async () => {
  const page = readFileSync(new URL('../../docs/protocols/wsrf.md', import.meta.url), 'utf8').split('\n').filter((line) => line.startsWith('|'));
  for (const [what, , fault] of REFUSED) expect(page.filter((line) => line.includes(what) && line.includes(fault)), what).not.toEqual([]);
  expect((await ask(wsrf, 'WorkspaceFactoryService', BODY)).status).toBe(200);
});
