/** The grid services' own descriptions, as door and command line read them. */
import { packageFile } from '../../platform/package-file.ts';
import { loadDescriptions } from '../../soap/wsdl/load.ts';
import type { Descriptions } from '../../soap/wsdl/types.ts';

/** Path of all services. */
export const SERVICES_PATH = '/wsrf/services/';

const DOCUMENTS = [
  'workspace/factory_service.wsdl', 'workspace/instance_service.wsdl', 'workspace/group_service.wsdl', 'workspace/ensemble_service.wsdl',
  'workspace/status_service.wsdl', 'wsrf/subscription_manager_service.wsdl', 'wsrf/notification_consumer_service.wsdl',
];

/** Read once: all services speak by them. */
export const gridDescriptions = (): Descriptions => loadDescriptions(packageFile('wsdl'), DOCUMENTS);
