/**
 * The WSDLs are what the table makes, and the table says what the original WSDLs say: names, types, order and multiplicity of every
 * action that has a form. The facts of the originals stand in a fixture, one line each.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { operation, type Operation } from '../../../src/ec2/operation.ts';
import { SOAP_FORMS } from '../../../src/ec2/soap/forms/index.ts';
import { SOAP_VERSIONS, type SoapVersion } from '../../../src/ec2/soap/shapes.ts';
import { SOAP_TABLES, tableOf } from '../../../src/ec2/soap/versions.ts';
import { wsdlText } from '../../../src/ec2/soap/wsdl.ts';
// @ts-expect-error a script without types
import { wsdlFiles } from '../../../tools/ec2-wsdl.mjs';
import { openDoor } from '../door.ts';
import { wsdlFacts } from './facts.ts';

const ROOT = join(import.meta.dirname, '../../..');
const FIXTURE = join(ROOT, 'test/fixtures/ec2-soap-facts.txt');
/** Directory of the original's own files: `NIMBUS_REFERENCE_WSDL`. */
const REFERENCE = process.env['NIMBUS_REFERENCE_WSDL'] ?? '';
const NAMES = new Set(Object.keys(SOAP_FORMS));

const every: ReadonlyMap<string, Operation> = new Map([...NAMES].map((name) => [name, operation({ name, summary: '', input: {}, output: {}, mutates: false, run: async () => ({}) })]));
const ours = (version: SoapVersion): string[] => wsdlFacts(wsdlText(tableOf(version, every), 'http://h/'));
const originals = (version: SoapVersion): string[] => wsdlFacts(readFileSync(join(REFERENCE, `ec2/ec2-${version}.wsdl`), 'utf8'), NAMES);
const fixture = (): string[] => readFileSync(FIXTURE, 'utf8').trimEnd().split('\n');

describe('the WSDLs', () => {
  it('are in wsdl/ec2 as the table makes them: npm run wsdl:ec2', () => {
    const files = (wsdlFiles as (of: unknown) => Map<string, string>)({ SOAP_TABLES, wsdlText });
    expect([...files.keys()]).toEqual(SOAP_VERSIONS.map((v) => `ec2-${v}.wsdl`));
    for (const [name, text] of files) expect(readFileSync(join(ROOT, 'wsdl/ec2', name), 'utf8'), name).toBe(text);
  });

  it('say what the originals say of every action', () => {
    expect(SOAP_VERSIONS.flatMap(ours)).toEqual(fixture());
  });

  // Where the original's files are at hand, the fixture is held against them; NIMBUS_WRITE_FIXTURES=1 writes it anew.
  if (REFERENCE !== '') {
    it('the fixture is what the original\'s files say', () => {
      const facts = SOAP_VERSIONS.flatMap(originals);
      if (process.env['NIMBUS_WRITE_FIXTURES'] === '1') writeFileSync(FIXTURE, `${facts.join('\n')}\n`);
      expect(fixture()).toEqual(facts);
    });
  } else {
    console.log('not compared with the original\'s own files: NIMBUS_REFERENCE_WSDL names no directory; the fixture made of them was compared');
  }

  it('are served at any path, each version by name, with the address that the client used', async () => {
    const door = await openDoor();
    const get = async (path: string): Promise<[number, string, string]> => {
      const r = await fetch(door.url + path);
      const text = await r.text();
      return [r.status, /targetNamespace="([^"]*)"/.exec(text)?.[1] ?? '', /location="([^"]*)"/.exec(text)?.[1] ?? ''];
    };
    const space = (version: string): string => `http://ec2.amazonaws.com/doc/${version}/`;
    expect(await get('/?wsdl')).toEqual([200, space('2010-08-31'), `${door.url}/`]);
    expect(await get('/wsrf/services/ElasticNimbusService?WSDL')).toEqual([200, space('2010-08-31'), `${door.url}/wsrf/services/ElasticNimbusService`]);
    for (const v of SOAP_VERSIONS) {
      expect(await get(`/?wsdl&version=${v}`)).toEqual([200, space(v), `${door.url}/`]);
      expect(await get(`/doc/${v}/?wsdl`)).toEqual([200, space(v), `${door.url}/doc/${v}/`]);
    }
    expect((await get('/?wsdl&version=2016-11-15'))[0]).toBe(400);
    await door.close();
    const public_ = await openDoor({ config: { public_address: 'cloud.example.org:443' } });
    expect((await (await fetch(`${public_.url}/?wsdl`)).text())).toContain('location="http://cloud.example.org:443/"');
    await public_.close();
  });
});
