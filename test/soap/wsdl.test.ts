/**
 * Our service descriptions say on the wire what the original's say. The facts of the original stand in a fixture: namespaces,
 * names, types, order, multiplicity, actions and faults, one line each, read from its WSDL by the same loader.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe as suite, expect, it } from 'vitest';
import { describe, readDocuments } from '../../src/soap/wsdl/load.ts';
import type { Descriptions } from '../../src/soap/wsdl/types.ts';
import { loadOurs, schemaFacts, serviceFacts } from './describe.ts';

const FIXTURE = fileURLToPath(new URL('../fixtures/wsrf/facts.txt', import.meta.url));
/** Directory of the original's own files: `NIMBUS_REFERENCE_WSDL`. */
const REFERENCE = process.env['NIMBUS_REFERENCE_WSDL'] ?? '';

const facts = (d: Descriptions): string[] => [...serviceFacts(d), ...schemaFacts(d)];
const fixture = (): string[] => readFileSync(FIXTURE, 'utf8').trimEnd().split('\n');

/** The original has one file for all port types of notification, and a file may hold one service here. */
const oneService = (port: string): string => `<wsdl:definitions targetNamespace="urn:${port}" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
  xmlns:b="http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.wsdl/bindings">
  <wsdl:import location="WS-BaseN_bindings.wsdl"/>
  <wsdl:service name="${port}Service"><wsdl:port name="p" binding="b:${port}SOAPBinding"/></wsdl:service></wsdl:definitions>`;

function originals(): Descriptions {
  const documents = readDocuments(REFERENCE);
  for (const port of ['SubscriptionManager', 'NotificationConsumer']) documents.set(`wsrf/notification/${port}.wsdl`, oneService(port));
  return describe(documents, [
    ...['workspace_factory_service', 'workspace_service', 'workspace_group_service', 'workspace_ensemble_service', 'workspace_status_service'].map((n) => `workspace/${n}.wsdl`),
    'wsrf/notification/SubscriptionManager.wsdl', 'wsrf/notification/NotificationConsumer.wsdl',
  ]);
}

suite('service descriptions', () => {
  it('agree with the original in every name, type, order, multiplicity, action and fault', () => {
    expect(facts(loadOurs())).toEqual(fixture());
  });

  it('name each service, and each operation by its input', () => {
    const { services } = loadOurs();
    expect([...services.keys()].sort()).toEqual([
      'NotificationConsumerService', 'SubscriptionManagerService', 'WorkspaceEnsembleService', 'WorkspaceFactoryService', 'WorkspaceGroupService',
      'WorkspaceService', 'WorkspaceStatusService',
    ]);
    for (const s of services.values()) expect(s.byInput.size, s.name).toBe(s.operations.size);
    expect(services.get('WorkspaceService')?.byInput.get('{http://www.globus.org/2008/06/workspace}shutdownWorkspace')).toMatchObject({
      name: 'shutdown', action: 'http://www.globus.org/2008/06/workspace/WorkspacePortType/shutdownRequest', responseAction: 'http://www.globus.org/2008/06/workspace/WorkspacePortType/shutdownResponse',
    });
  });

  // Where the original's files are at hand, the fixture is held against them; NIMBUS_WRITE_FIXTURES=1 writes it anew.
  if (REFERENCE !== '') {
    it('the fixture is what the original\'s files say', () => {
      if (process.env['NIMBUS_WRITE_FIXTURES'] === '1') writeFileSync(FIXTURE, `${facts(originals()).join('\n')}\n`);
      expect(fixture()).toEqual(facts(originals()));
    });
  } else {
    console.log(`not compared with the original's own files: NIMBUS_REFERENCE_WSDL names no directory; the fixture made of them was compared`);
  }
});
