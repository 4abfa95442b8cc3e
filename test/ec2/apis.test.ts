import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACTION_NAMES } from '../../src/ec2/action-names.ts';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
// @ts-expect-error a tool without types
import { actionNames as untypedNames, actionNamesFile as untypedFile } from '../../tools/ec2-actions.mjs';
import { ALICE, ask, form, openDoor, post, type OpenDoor } from './door.ts';

const actionNames = untypedNames as (root: URL) => string[];
const actionNamesFile = untypedFile as (names: readonly string[]) => string;

let door: OpenDoor;
beforeAll(async () => { door = await openDoor(); });
afterAll(() => door.close());

describe('actions that are not offered', () => {
  it('stand in a list that is the SDK\'s own (npm run ec2:actions writes it)', () => {
    const names = actionNames(new URL('../../', import.meta.url));
    expect(names.length).toBeGreaterThan(700);
    expect(readFileSync(join(import.meta.dirname, '../../src/ec2/action-names.ts'), 'utf8')).toBe(actionNamesFile(names));
    expect([...OPERATIONS.keys()].filter((name) => !ACTION_NAMES.has(name))).toEqual([]);
  });

  it('are unsupported by name; what EC2 does not know is invalid', async () => {
    const others = [...ACTION_NAMES].filter((name) => !OPERATIONS.has(name));
    for (const name of others) {
      const r = await ask(door, { Action: name, VpcId: 'anything' });
      expect([r.status, r.code, r.message]).toEqual([400, 'UnsupportedOperation', expect.stringMatching(`^The action ${name} is not offered by this service(?:: [^.]+)?\\.$`)]);
    }
    for (const name of ['describevpcs', 'CreateVPC', 'GetCallerIdentity', 'toString', '__proto__']) {
      expect(await ask(door, { Action: name })).toMatchObject({ status: 400, code: 'InvalidAction' });
    }
    expect(door.manager.mutations).toEqual([]);
  });
});

describe('STS', () => {
  const sts = (params: Record<string, string>, who = ALICE) => post(door, form(params, '2011-06-15'), who);

  it('says whose key it is, in its own form', async () => {
    const r = await sts({ Action: 'GetCallerIdentity' });
    expect(r.status).toBe(200);
    expect(r.body).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
      + '<Arn>arn:aws:iam::111111111111:user/alice</Arn><UserId>AIDANIMB111111111111</UserId><Account>111111111111</Account></GetCallerIdentityResult>'
      + `<ResponseMetadata><RequestId>${r.headers.get('x-amzn-requestid')}</RequestId></ResponseMetadata></GetCallerIdentityResponse>`);
  });

  it('refuses in its own form, also what it cannot prove', async () => {
    const shape = (type: string, code: string): RegExp => new RegExp(`^<\\?xml version="1.0" encoding="UTF-8"\\?>\\n<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>${type}</Type><Code>${code}</Code><Message>[^<]+</Message></Error><RequestId>[0-9a-f-]{36}</RequestId></ErrorResponse>$`);
    const cases: Array<[Record<string, string>, typeof ALICE, number, string]> = [
      [{ Action: 'AssumeRole' }, ALICE, 400, 'InvalidAction'], [{ Action: 'RunInstances' }, ALICE, 400, 'InvalidAction'], [{}, ALICE, 400, 'MissingParameter'],
      [{ Action: 'GetCallerIdentity', Colour: 'red' }, ALICE, 400, 'UnknownParameter'], [{ Action: 'GetCallerIdentity' }, { ...ALICE, secret: 'x' }, 403, 'SignatureDoesNotMatch'],
      [{ Action: 'GetCallerIdentity' }, { accessKey: 'NOBODY', secret: 'x' }, 403, 'InvalidClientTokenId'],
    ];
    for (const [params, who, status, code] of cases) {
      const r = await sts(params, who);
      expect([r.status, r.body]).toEqual([status, expect.stringMatching(shape('Sender', code))]);
    }
  });
});
