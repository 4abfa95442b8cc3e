import { createRequire } from 'node:module';
import { ENDPOINT, INSTANCE_TYPE, play, SIGNATURE } from './session.mjs';

const AWS = createRequire(new URL('../../clients/package.json', import.meta.url))('aws-sdk');
const $waiter = { delay: 1, maxAttempts: 240 };

class Sdk2 {
  version = AWS.VERSION;
  how = { running: 'waitFor', terminated: 'waitFor' };

  constructor(secretAccessKey = process.env.AWS_SECRET_ACCESS_KEY) {
    const credentials = { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey };
    this.ec2 = new AWS.EC2({ endpoint: ENDPOINT, region: 'nimbus', signatureVersion: SIGNATURE, credentials, maxRetries: 0 });
  }

  async images() { return (await this.ec2.describeImages().promise()).Images.map((i) => i.Name); }

  async keyPair(KeyName) { return (await this.ec2.createKeyPair({ KeyName }).promise()).KeyMaterial; }

  async run(ImageId, count, KeyName, userData) {
    const UserData = Buffer.from(userData).toString('base64');
    const made = await this.ec2.runInstances({ ImageId, MinCount: count, MaxCount: count, KeyName, UserData, InstanceType: INSTANCE_TYPE }).promise();
    return made.Instances.map((i) => i.InstanceId);
  }

  async #instances(which) { return (await this.ec2.describeInstances(which).promise()).Reservations.flatMap((r) => r.Instances); }

  async wait(InstanceIds, state) {
    await this.ec2.waitFor(state === 'running' ? 'instanceRunning' : 'instanceTerminated', { InstanceIds, $waiter }).promise();
    return (await this.#instances({ InstanceIds })).map((i) => i.State.Name);
  }

  async console(InstanceId) { return Buffer.from((await this.ec2.getConsoleOutput({ InstanceId }).promise()).Output ?? '', 'base64').toString(); }

  async tag(id, name) {
    await this.ec2.createTags({ Resources: [id], Tags: [{ Key: 'Name', Value: name }] }).promise();
    const Filters = [{ Name: 'key', Values: ['Name'] }, { Name: 'value', Values: [name] }];
    return (await this.ec2.describeTags({ Filters }).promise()).Tags.map((t) => t.ResourceId);
  }

  async find(name) { return (await this.#instances({ Filters: [{ Name: 'tag:Name', Values: [name] }] })).map((i) => i.InstanceId); }

  async reboot(InstanceIds) { return Object.keys(await this.ec2.rebootInstances({ InstanceIds }).promise()).length === 0; }

  async terminate(InstanceIds) { return (await this.ec2.terminateInstances({ InstanceIds }).promise()).TerminatingInstances.map((i) => i.CurrentState.Name); }

  look(id) { return this.#instances({ InstanceIds: [id] }); }

  tryRun(ImageId) { return this.ec2.runInstances({ ImageId, MinCount: 1, MaxCount: 1, DryRun: true }).promise(); }

  async wayIn(id) {
    const [i] = await this.#instances({ InstanceIds: [id] });
    return { address: i.PublicIpAddress, command: i.Tags.find((t) => t.Key === 'nimbus:ssh').Value };
  }

  shown(e) { return { code: e.code, status: e.statusCode ?? null, message: e.message }; }
}

await play(new Sdk2(), new Sdk2('wrong'));
