/** The manager's refusals as the faults that each operation declares, with what the original's clients look for in them. */
import { FAULTS, isFault, type Fault } from '../lease/faults.ts';
import { BaseFault, SoapFault, type FaultCause } from '../soap/message/fault.ts';
import { clark, qname, type Clark } from '../soap/names.ts';
import type { SoapPlace } from '../soap/types.ts';
import type { SoapOperation } from '../soap/wsdl/types.ts';
import { ENSEMBLE, LIFETIME, NOTIFICATION, PROPERTIES, SERVICES, STATUS, TYPES } from './wire/names.ts';

/** The operation is known. */
type Where = SoapPlace & { readonly operation: SoapOperation };

/** Classes of the original; clients of the time find the fault by them. */
const JAVA: Readonly<Record<string, string>> = {
  [TYPES]: 'org.nimbustools.messaging.gt4_0.generated.types', [ENSEMBLE]: 'org.nimbustools.messaging.gt4_0.generated.ensemble',
  [STATUS]: 'org.nimbustools.messaging.gt4_0.generated.status', [PROPERTIES]: 'org.oasis.wsrf.properties', [LIFETIME]: 'org.oasis.wsrf.lifetime',
  [NOTIFICATION]: 'org.oasis.wsn',
};
const TYPED = new Set([PROPERTIES, LIFETIME, NOTIFICATION]);

function javaClass(element: Clark): string {
  const { ns, local } = qname(element);
  return `${JAVA[ns] ?? ''}.${local}${TYPED.has(ns) ? 'Type' : ''}`;
}

export function baseFault(element: Clark, description: string, causes: readonly FaultCause[] = [], cause?: unknown): BaseFault {
  return new BaseFault(element, description, { causes: [{ description: javaClass(element) }, ...causes], exceptionName: javaClass(element), cause });
}

export const creationFault = (text: string): BaseFault => createFault('WorkspaceCreationFault', text);
export const metadataFault = (text: string): BaseFault => createFault('WorkspaceMetadataFault', text);
export const deniedFault = (text: string): BaseFault => createFault('WorkspaceResourceRequestDeniedFault', text);

function createFault(local: string, text: string, cause?: unknown): BaseFault {
  return baseFault(clark(TYPES, local), `Error creating workspace(s): ${text}`, [{ description: text }], cause);
}

/** What no resource has: clients search for the class name in the innermost cause. */
function unknownResource(element: Clark, description: string, text: string): BaseFault {
  return baseFault(element, description, [{ description: text, causes: [{ description: 'org.globus.wsrf.NoSuchResourceException' }] }]);
}

const UNKNOWN = new Set(['LeaseNotFound', 'LeaseIdMalformed', 'GroupNotFound', 'EnsembleNotFound', 'SubscriptionNotFound']);
const CREATE = new Set(['WorkspaceCreationFault', 'WorkspaceResourceRequestDeniedFault', 'WorkspaceMetadataFault', 'WorkspaceSchedulingFault']);

/** Of operations that come with every resource: the namespace of their faults, and what is said of an unknown one. */
const STANDARD: Readonly<Record<string, { ns: string; unknown: string }>> = {
  GetResourceProperty: { ns: PROPERTIES, unknown: '' },
  GetMultipleResourceProperties: { ns: PROPERTIES, unknown: '' },
  QueryResourceProperties: { ns: PROPERTIES, unknown: '' },
  Destroy: { ns: LIFETIME, unknown: 'Failed to remove resource' },
  SetTerminationTime: { ns: LIFETIME, unknown: '' },
  Subscribe: { ns: NOTIFICATION, unknown: '' },
  GetCurrentMessage: { ns: NOTIFICATION, unknown: '' },
  PauseSubscription: { ns: NOTIFICATION, unknown: '' },
  ResumeSubscription: { ns: NOTIFICATION, unknown: '' },
};

export function translate(error: unknown, at: SoapPlace): BaseFault | SoapFault {
  if (!isFault(error)) return new SoapFault('Server.generalException', 'Unexpected internal service problem. The log of the service has the request id.', { cause: error });
  const { operation } = at;
  // Nobody known, or nothing that could be read: no operation has a fault for that.
  if (operation === undefined || error.code === 'RequestMalformed') return new SoapFault(FAULTS[error.code].http < 500 ? 'Client' : 'Server.generalException', error.text, { cause: error });
  const standard = STANDARD[operation.name];
  return standard === undefined ? ofOwn(error, { ...at, operation }) : ofStandard(error, operation, standard);
}

function ofStandard(error: Fault, { name }: SoapOperation, { ns, unknown }: { ns: string; unknown: string }): BaseFault | SoapFault {
  if (UNKNOWN.has(error.code)) return unknownResource(clark(ns, 'ResourceUnknownFault'), unknown, error.message);
  const local = name === 'Destroy' ? 'ResourceNotDestroyedFault'
    : name === 'SetTerminationTime' ? (error.code === 'StateRefused' ? 'UnableToSetTerminationTimeFault' : 'TerminationTimeChangeRejectedFault')
      : name === 'Subscribe' ? 'SubscribeCreationFailedFault' : undefined;
  if (local === undefined) return new SoapFault('Server.generalException', error.text, { cause: error });
  return baseFault(clark(ns, local), error.text, [], error);
}

function ofOwn(error: Fault, { service, operation }: Where): BaseFault {
  if (service.name === SERVICES.factory) {
    const local: string = FAULTS[error.code].wsrf;
    return createFault(CREATE.has(local) ? local : 'WorkspaceResourceRequestDeniedFault', error.text, error);
  }
  if (service.name === SERVICES.status) return baseFault(clark(STATUS, 'WorkspaceStatusFault'), error.text, [], error);
  if (UNKNOWN.has(error.code)) return unknownResource(clark(TYPES, 'WorkspaceUnknownFault'), error.message, error.message);
  if (service.name === SERVICES.ensemble) return baseFault(clark(ENSEMBLE, 'WorkspaceEnsembleFault'), error.text, [{ description: error.text }], error);
  const local = error.code === 'StateRefused' ? 'OperationDisabledFault' : operation.name === 'start' ? 'WorkspaceStartFault' : 'WorkspaceShutdownFault';
  return baseFault(clark(TYPES, local), error.text, [{ description: error.text }], error);
}
