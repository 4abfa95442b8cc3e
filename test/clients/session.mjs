// A session with the AWS SDK for JavaScript, version 2. argv: endpoint, image, signature version. Prints what it saw as JSON.
import AWS from 'aws-sdk';

const [endpoint, image, signatureVersion] = process.argv.slice(2);
AWS.config.update({ maxRetries: 0 });
const ec2 = new AWS.EC2({ endpoint, region: 'nimbus', signatureVersion });

const run = await ec2.runInstances({
  ImageId: image, MinCount: 2, MaxCount: 2, InstanceType: 'm1.small', UserData: Buffer.from('hello').toString('base64'),
  TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'nimbus:duration', Value: '1h' }, { Key: 'Name', Value: 'a b+c*~/é' }] }],
}).promise();
const InstanceIds = run.Instances.map((i) => i.InstanceId);
const $waiter = { delay: 0.2, maxAttempts: 200 };
await ec2.waitFor('instanceRunning', { InstanceIds, $waiter }).promise();
const described = await ec2.describeInstances({ Filters: [{ Name: 'tag:Name', Values: ['a b+c\\*~/é'] }, { Name: 'instance-id', Values: InstanceIds }] }).promise();
const shown = described.Reservations.flatMap((r) => r.Instances);
const output = async () => Buffer.from((await ec2.getConsoleOutput({ InstanceId: InstanceIds[0] }).promise()).Output ?? '', 'base64').toString();
const until = Date.now() + 20_000;
while (!(await output()).includes(InstanceIds[0])) if (Date.now() > until) throw new Error('no banner on the console');
const refused = await ec2.describeInstances({ InstanceIds: ['i-00000000'] }).promise().catch((e) => [e.code, e.statusCode, e.requestId.length]);
await ec2.terminateInstances({ InstanceIds }).promise();
await ec2.waitFor('instanceTerminated', { InstanceIds, $waiter }).promise();
console.log(JSON.stringify({
  states: shown.map((i) => i.State.Name), launched: shown.every((i) => i.LaunchTime instanceof Date),
  tags: shown[0].Tags.filter((t) => t.Key !== 'nimbus:ends' && t.Key !== 'nimbus:ssh'), refused,
}));
