/**
 * The APIs that share this port: EC2, and of STS the one action by which clients ask who they are. The request's version
 * tells which is meant; each has its own documents.
 */
import { Fault } from '../lease/faults.ts';
import { ACTION_NAMES } from './action-names.ts';
import { shown } from './inputs.ts';
import type { Operation } from './operation.ts';
import { notOffered } from './not-offered.ts';
import { OPERATIONS } from './operations/index.ts';
import { getCallerIdentity, STS_VERSION } from './sts.ts';
import { errorDocument, responseFrame, stsErrorDocument, stsResponseFrame, type Frame } from './xml.ts';

export interface Api {
  /** @throws Fault ActionUnknown, Unsupported */
  operation(action: string): Operation;
  response(action: string, version: string, requestId: string): Frame;
  refusal(fault: Fault, requestId: string): string;
}

const ec2: Api = {
  operation(action) {
    const found = OPERATIONS.get(action);
    if (found !== undefined) return found;
    if (ACTION_NAMES.has(action)) throw notOffered(action, `The action ${action} is not offered by this service`);
    throw unknown(action);
  },
  response: responseFrame,
  refusal: (fault, requestId) => errorDocument(fault.ec2, fault.text, requestId),
};

const sts: Api = {
  operation(action) {
    if (action !== getCallerIdentity.name) throw unknown(action);
    return getCallerIdentity;
  },
  response: (action, _version, requestId) => stsResponseFrame(action, requestId),
  refusal: (fault, requestId) => stsErrorDocument(fault, requestId),
};

export const apiOf = (version: string | undefined): Api => (version === STS_VERSION ? sts : ec2);

const unknown = (action: string): Fault => new Fault('ActionUnknown', `The action ${shown(action)} is not valid for this web service.`);
