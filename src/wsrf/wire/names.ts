/** Names of the grid services: namespaces, elements and the reference properties that name resources. */
import { clark, type Clark } from '../../soap/names.ts';

export const WORKSPACE = 'http://www.globus.org/2008/06/workspace';
export const TYPES = 'http://www.globus.org/2008/06/workspace/types';
export const NEGOTIABLE = 'http://www.globus.org/2008/06/workspace/negotiable';
export const DEFINITION = 'http://www.globus.org/2008/06/workspace/metadata/definition';
export const LOGISTICS = 'http://www.globus.org/2008/06/workspace/metadata/logistics';
export const GROUP = 'http://www.globus.org/2008/06/workspace/group';
export const ENSEMBLE = 'http://www.globus.org/2008/06/workspace/ensemble';
export const STATUS = 'http://www.globus.org/2008/06/workspace/status';
export const JSDL = 'http://schemas.ggf.org/jsdl/2005/11/jsdl';
export const GLOBUS_CORE = 'http://www.globus.org/namespaces/2004/06/core';
export const GLOBUS_NOTIFICATION = 'http://wsrf.globus.org/core/notification';
export const PROPERTIES = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceProperties-1.2-draft-01.xsd';
export const LIFETIME = 'http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceLifetime-1.2-draft-01.xsd';
export const NOTIFICATION = 'http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd';

export const XPATH_DIALECT = 'http://www.w3.org/TR/1999/REC-xpath-19991116';
export const SIMPLE_TOPICS = 'http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Simple';
const FURTHER_TOPICS = ['http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Concrete', 'http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Full'];
/** A topic without a parent is written the same way in all of them. */
export const TOPIC_DIALECTS: readonly string[] = [SIMPLE_TOPICS, ...FURTHER_TOPICS];

export const SERVICES = {
  factory: 'WorkspaceFactoryService',
  workspace: 'WorkspaceService',
  group: 'WorkspaceGroupService',
  ensemble: 'WorkspaceEnsembleService',
  status: 'WorkspaceStatusService',
  subscriptions: 'SubscriptionManagerService',
} as const;

export const KEYS = {
  workspace: clark(WORKSPACE, 'WorkspaceKey'),
  group: clark(GROUP, 'WorkspaceGroupKey'),
  ensemble: clark(ENSEMBLE, 'WorkspaceEnsembleKey'),
  subscription: clark(GLOBUS_CORE, 'SubscriptionKey'),
} as const satisfies Record<string, Clark>;

export const CURRENT_STATE = { ns: TYPES, local: 'currentState' } as const;
export const RESOURCE_TERMINATION = { ns: LIFETIME, local: 'ResourceTermination' } as const;
