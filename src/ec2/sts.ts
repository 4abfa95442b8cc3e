/** Of AWS's Security Token Service the action by which Terraform and others ask whose credentials they have. */
import { operation } from './operation.ts';
import { text } from './outputs.ts';

/** The only version that STS has ever had. No version of EC2 has this date. */
export const STS_VERSION = '2011-06-15';

export const getCallerIdentity = operation({
  name: 'GetCallerIdentity',
  summary: 'Shows whose access key the request is signed with (STS).',
  input: {},
  output: { Arn: text, UserId: text, Account: text },
  mutates: false,
  async run({ caller }) {
    // As AWS's, twenty characters; an account has one user here.
    return { Arn: `arn:aws:iam::${caller.ownerId}:user/${caller.name}`, UserId: `AIDANIMB${caller.ownerId}`, Account: caller.ownerId };
  },
});
