/** Key pairs and tags. */
import { done, filterSet, from, ids, items, optional, string, tagSet, V2008, V2010_08, type SoapForms } from '../shapes.ts';

const fingerprint = { keyName: string, keyFingerprint: string };
const resourcesSet = ids('resourceId');

export const keyAndTagForms: SoapForms = {
  CreateKeyPair: { since: V2008, request: { keyName: string }, response: { ...fingerprint, keyMaterial: string } },
  ImportKeyPair: { since: V2010_08, request: { keyName: string, publicKeyMaterial: string }, response: fingerprint },
  DescribeKeyPairs: { since: V2008, request: { keySet: ids('keyName'), filterSet }, response: { keySet: items(fingerprint) } },
  DeleteKeyPair: { since: V2008, request: { keyName: string }, response: done },
  CreateTags: { since: V2010_08, request: { resourcesSet, tagSet: from('Tag', tagSet) }, response: done },
  DeleteTags: { since: V2010_08, request: { resourcesSet, tagSet: from('Tag', items({ key: optional(string), value: optional(string) })) }, response: done },
  DescribeTags: {
    since: V2010_08,
    request: { filterSet },
    response: { tagSet: items({ resourceId: optional(string), resourceType: optional(string), key: optional(string), value: optional(string) }) },
  },
};
