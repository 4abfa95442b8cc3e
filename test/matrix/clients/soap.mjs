import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ENDPOINT, INSTANCE_TYPE, NotOffered, play, ROW, SIGNATURE as VERSION, until } from './session.mjs';

const require = createRequire(new URL('../../clients/package.json', import.meta.url));
const soap = require('soap');
const { version } = require('soap/package.json');
const TAGS = '2010-08-31';

const listed = (set) => [].concat(set?.item ?? []);
const named = (name, values) => ({ item: values.map((value) => ({ [name]: value })) });

async function connect(keyFile) {
  const client = await soap.createClientAsync(`${ENDPOINT}/?wsdl&version=${VERSION}`);
  client.setSecurity(new soap.WSSecurityCert(readFileSync(keyFile), readFileSync(process.env.EC2_CERT), '', { hasTimeStamp: true }));
  return async (operation, input) => (await client[`${operation}Async`](input))[0];
}

class Soap {
  version = version;
  how = { running: 'poll', terminated: 'poll' };
  #call;

  constructor(call) { this.#call = call; }

  async images() {
    const { imagesSet } = await this.#call('DescribeImages', { executableBySet: {}, imagesSet: {}, ownersSet: {} });
    // Names of images came with 2010-06-15.
    return listed(imagesSet).map((i) => i.name ?? i.imageLocation.split('/').at(-1));
  }

  async keyPair(keyName) { return (await this.#call('CreateKeyPair', { keyName })).keyMaterial; }

  async run(imageId, count, keyName, text) {
    const userData = { attributes: { version: '1.0', encoding: 'base64' }, data: Buffer.from(text).toString('base64') };
    const made = await this.#call('RunInstances', { imageId, minCount: count, maxCount: count, keyName, groupSet: {}, userData, instanceType: INSTANCE_TYPE });
    return listed(made.instancesSet).map((i) => i.instanceId);
  }

  async #instances(ids, more = {}) {
    const { reservationSet } = await this.#call('DescribeInstances', { instancesSet: named('instanceId', ids), ...more });
    return listed(reservationSet).flatMap((r) => listed(r.instancesSet));
  }

  async wait(ids, state) {
    const states = async () => (await this.#instances(ids)).map((i) => i.instanceState.name);
    await until(async () => (await states()).every((s) => s === state));
    return states();
  }

  async console(instanceId) { return Buffer.from((await this.#call('GetConsoleOutput', { instanceId })).output ?? '', 'base64').toString(); }

  #filters(wanted) {
    if (VERSION < TAGS) throw new NotOffered(`no tags and filters in ${VERSION}`);
    return { item: Object.entries(wanted).map(([name, value]) => ({ name, valueSet: named('value', [value]) })) };
  }

  async tag(id, name) {
    const filterSet = this.#filters({ key: 'Name', value: name });
    await this.#call('CreateTags', { resourcesSet: named('resourceId', [id]), tagSet: { item: [{ key: 'Name', value: name }] } });
    return listed((await this.#call('DescribeTags', { filterSet })).tagSet).map((t) => t.resourceId);
  }

  async find(name) { return (await this.#instances([], { filterSet: this.#filters({ 'tag:Name': name }) })).map((i) => i.instanceId); }

  async reboot(ids) { return (await this.#call('RebootInstances', { instancesSet: named('instanceId', ids) })).return; }

  async terminate(ids) {
    const { instancesSet } = await this.#call('TerminateInstances', { instancesSet: named('instanceId', ids) });
    return listed(instancesSet).map((i) => (i.currentState ?? i.shutdownState).name);
  }

  look(id) { return this.#instances([id]); }

  tryRun(image) { return this.run(image, 0, ROW, ''); }

  async wayIn(id) {
    const [i] = await this.#instances([id]);
    if (VERSION < TAGS) return { address: i.ipAddress ?? i.dnsName };
    return { address: i.ipAddress, command: listed(i.tagSet).find((t) => t.key === 'nimbus:ssh').value };
  }

  shown(e) {
    const { faultcode, faultstring } = e.root?.Envelope?.Body?.Fault ?? {};
    return { code: faultcode, status: e.response?.status ?? null, message: faultstring };
  }
}

await play(new Soap(await connect(process.env.EC2_PRIVATE_KEY)), new Soap(await connect(process.env.WRONG_PRIVATE_KEY)));
