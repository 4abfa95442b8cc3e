// An EC2 session with the npm package soap. argv: endpoint, version of the API, image, certificate, key, and a certificate and key that no
// user has. Prints what it saw as JSON.
import { readFileSync } from 'node:fs';
import soap from 'soap';

const [endpoint, version, image, certificate, key, otherCertificate, otherKey] = process.argv.slice(2);
const deadline = Date.now() + 90_000;

async function client(cert, privateKey) {
  const made = await soap.createClientAsync(`${endpoint}/?wsdl&version=${version}`);
  made.setSecurity(new soap.WSSecurityCert(readFileSync(privateKey), readFileSync(cert), '', { hasTimeStamp: true }));
  return made;
}
const ec2 = await client(certificate, key);
const ask = async (name, input) => (await ec2[`${name}Async`](input))[0];
const items = (set) => [set?.item ?? []].flat();
const refused = (asked) => asked.then(() => null, (e) => [e.root?.Envelope?.Body?.Fault?.faultcode, Object.keys(e.root?.Envelope?.Body?.Fault?.detail ?? {})]);
const ids = (list) => ({ item: list.map((instanceId) => ({ instanceId })) });
const pause = () => new Promise((resolve) => { setTimeout(resolve, 200); });

const states = async (list) => {
  const found = items((await ask('DescribeInstances', { instancesSet: ids(list) })).reservationSet).flatMap((r) => items(r.instancesSet));
  return [...new Set(found.map((i) => i.instanceState.name))].join(' ');
};
async function wait(list, state) {
  while (await states(list) !== state) {
    if (Date.now() > deadline) throw new Error(`not ${state}: ${await states(list)}`);
    await pause();
  }
}
const run = (more) => ask('RunInstances', { imageId: image, minCount: 2, maxCount: 2, groupSet: {}, instanceType: 'm1.small', ...more });
const name = `soap ${version}`;

const seen = {
  image: items((await ask('DescribeImages', { imagesSet: {} })).imagesSet).map((i) => i.imageLocation),
  key: (await ask('CreateKeyPair', { keyName: name })).keyMaterial.split('\n')[0],
  keys: items((await ask('DescribeKeyPairs', { keySet: { item: [{ keyName: name }] } })).keySet).map((k) => k.keyName),
  zones: items((await ask('DescribeAvailabilityZones', { availabilityZoneSet: {} })).availabilityZoneInfo).map((z) => z.zoneName),
};
const started = await run({ keyName: undefined });
const leased = items(started.instancesSet).map((i) => i.instanceId);
seen.groups = items(started.groupSet).map((g) => g.groupId);
seen['request id'] = started.requestId?.length ?? null;
await wait(leased, 'running');
const banner = async () => Buffer.from((await ask('GetConsoleOutput', { instanceId: leased[0] })).output ?? '', 'base64').toString();
while (!(await banner()).includes(leased[0])) {
  if (Date.now() > deadline) throw new Error('no banner on the console');
  await pause();
}
seen.rebooted = (await ask('RebootInstances', { instancesSet: ids(leased.slice(0, 1)) })).return;
await wait(leased, 'running');
const stranger = await client(otherCertificate, otherKey);
seen.refused = [
  await refused(ask('DescribeInstances', { instancesSet: ids(['i-00000000000000000']) })),
  await refused(run({ imageId: 'ami-00000000000000000' })),
  await refused(run({ instanceType: 'm9.nosuch' })),
  await refused(ask('CreateKeyPair', { keyName: name })),
  await refused(stranger.DescribeInstancesAsync({ instancesSet: {} })),
];
const ended = items((await ask('TerminateInstances', { instancesSet: ids(leased) })).instancesSet);
seen.ended = [...new Set(ended.map((i) => (i.shutdownState ?? i.currentState).name))];
await wait(leased, 'terminated');
seen.deleted = (await ask('DeleteKeyPair', { keyName: name })).return;
console.log(JSON.stringify(seen));
