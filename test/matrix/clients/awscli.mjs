import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ENDPOINT, INSTANCE_TYPE, play } from './session.mjs';

const run = promisify(execFile);

/** Each answer is the program's own JSON. */
const ec2 = (secret) => async (...args) => {
  const env = { ...process.env, ...(secret === undefined ? {} : { AWS_SECRET_ACCESS_KEY: secret }) };
  const { stdout } = await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', ENDPOINT, '--output', 'json'], { env });
  return stdout.trim() === '' ? {} : JSON.parse(stdout);
};
const { stdout: about } = await run('/usr/bin/aws', ['--version']);

class Cli {
  version = /aws-cli\/(\S+)/.exec(about)[1];
  how = { running: 'wait', terminated: 'wait' };
  #aws;

  constructor(secret) { this.#aws = ec2(secret); }

  async images() { return (await this.#aws('describe-images')).Images.map((i) => i.Name); }

  async keyPair(name) { return (await this.#aws('create-key-pair', '--key-name', name)).KeyMaterial; }

  async run(image, count, key, userData) {
    const made = await this.#aws('run-instances', '--image-id', image, '--count', String(count), '--key-name', key, '--user-data', userData, '--instance-type', INSTANCE_TYPE);
    return made.Instances.map((i) => i.InstanceId);
  }

  async #instances(...which) { return (await this.#aws('describe-instances', ...which)).Reservations.flatMap((r) => r.Instances); }

  async wait(ids, state) {
    await this.#aws('wait', `instance-${state}`, '--instance-ids', ...ids);
    return (await this.#instances('--instance-ids', ...ids)).map((i) => i.State.Name);
  }

  async console(id) { return (await this.#aws('get-console-output', '--instance-id', id)).Output ?? ''; }

  async tag(id, name) {
    await this.#aws('create-tags', '--resources', id, '--tags', `Key=Name,Value=${name}`);
    return (await this.#aws('describe-tags', '--filters', 'Name=key,Values=Name', `Name=value,Values=${name}`)).Tags.map((t) => t.ResourceId);
  }

  async find(name) { return (await this.#instances('--filters', `Name=tag:Name,Values=${name}`)).map((i) => i.InstanceId); }

  async reboot(ids) { return Object.keys(await this.#aws('reboot-instances', '--instance-ids', ...ids)).length === 0; }

  async terminate(ids) { return (await this.#aws('terminate-instances', '--instance-ids', ...ids)).TerminatingInstances.map((i) => i.CurrentState.Name); }

  look(id) { return this.#instances('--instance-ids', id); }

  tryRun(image) { return this.#aws('run-instances', '--image-id', image, '--dry-run'); }

  async wayIn(id) {
    const [i] = await this.#instances('--instance-ids', id);
    return { address: i.PublicIpAddress, command: i.Tags.find((t) => t.Key === 'nimbus:ssh').Value };
  }

  shown(e) {
    const [, code, message] = /An error occurred \((\S+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)/.exec(e.stderr) ?? [];
    return { code, status: null, message };
  }
}

await play(new Cli(), new Cli('wrong'));
