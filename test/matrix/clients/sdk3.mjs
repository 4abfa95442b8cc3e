import { createRequire } from 'node:module';
import * as sdk from '@aws-sdk/client-ec2';
import { ENDPOINT, INSTANCE_TYPE, play } from './session.mjs';

const WAIT = { maxWaitTime: 240, minDelay: 1, maxDelay: 1 };
const { version } = createRequire(import.meta.url)('@aws-sdk/client-ec2/package.json');

class Sdk3 {
  version = version;
  how = { running: 'waiter', terminated: 'waiter' };

  constructor(secretAccessKey = process.env.AWS_SECRET_ACCESS_KEY) {
    const credentials = { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey };
    this.client = new sdk.EC2Client({ endpoint: ENDPOINT, region: 'nimbus', credentials, maxAttempts: 1 });
  }

  async images() { return (await this.client.send(new sdk.DescribeImagesCommand({}))).Images.map((i) => i.Name); }

  async keyPair(KeyName) { return (await this.client.send(new sdk.CreateKeyPairCommand({ KeyName }))).KeyMaterial; }

  async run(ImageId, count, KeyName, userData) {
    const UserData = Buffer.from(userData).toString('base64');
    const made = await this.client.send(new sdk.RunInstancesCommand({ ImageId, MinCount: count, MaxCount: count, KeyName, UserData, InstanceType: INSTANCE_TYPE }));
    return made.Instances.map((i) => i.InstanceId);
  }

  async #instances(which) {
    const found = [];
    for await (const page of sdk.paginateDescribeInstances({ client: this.client }, which)) found.push(...page.Reservations.flatMap((r) => r.Instances));
    return found;
  }

  async wait(InstanceIds, state) {
    const waiter = state === 'running' ? sdk.waitUntilInstanceRunning : sdk.waitUntilInstanceTerminated;
    await waiter({ client: this.client, ...WAIT }, { InstanceIds });
    return (await this.#instances({ InstanceIds })).map((i) => i.State.Name);
  }

  async console(InstanceId) {
    return Buffer.from((await this.client.send(new sdk.GetConsoleOutputCommand({ InstanceId }))).Output ?? '', 'base64').toString();
  }

  async tag(id, name) {
    await this.client.send(new sdk.CreateTagsCommand({ Resources: [id], Tags: [{ Key: 'Name', Value: name }] }));
    const Filters = [{ Name: 'key', Values: ['Name'] }, { Name: 'value', Values: [name] }];
    return (await this.client.send(new sdk.DescribeTagsCommand({ Filters }))).Tags.map((t) => t.ResourceId);
  }

  async find(name) { return (await this.#instances({ Filters: [{ Name: 'tag:Name', Values: [name] }] })).map((i) => i.InstanceId); }

  async reboot(InstanceIds) { return (await this.client.send(new sdk.RebootInstancesCommand({ InstanceIds }))).$metadata.httpStatusCode === 200; }

  async terminate(InstanceIds) {
    return (await this.client.send(new sdk.TerminateInstancesCommand({ InstanceIds }))).TerminatingInstances.map((i) => i.CurrentState.Name);
  }

  look(id) { return this.#instances({ InstanceIds: [id] }); }

  tryRun(ImageId) { return this.client.send(new sdk.RunInstancesCommand({ ImageId, MinCount: 1, MaxCount: 1, DryRun: true })); }

  async wayIn(id) {
    const [i] = await this.#instances({ InstanceIds: [id] });
    return { address: i.PublicIpAddress, command: i.Tags.find((t) => t.Key === 'nimbus:ssh').Value };
  }

  shown(e) { return { code: e.name, status: e.$metadata?.httpStatusCode ?? null, message: e.message }; }
}

await play(new Sdk3(), new Sdk3('wrong'));
