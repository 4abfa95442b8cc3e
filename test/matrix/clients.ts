/** The clients of the matrix: each plays the one session of `clients/session.*` by a script of its own. */
import { join } from 'node:path';
import { type Part } from '../parts.ts';

export interface MatrixClient {
  /** Names what its session makes, so it is unlike any other's. */
  readonly row: string;
  /** Of the page's column. */
  readonly name: string;
  /** Of the page's column, too. */
  readonly signature: string;
  readonly needs: readonly Part[];
  readonly program: string;
  readonly script: string;
  /** For the script, where it knows several. */
  readonly variant?: string;
  /** It does not see `nimbus:ssh`: its guest has an address of its own. */
  readonly wired?: boolean;
}

const PYTHON = '/usr/bin/python3';
const NODE = process.execPath;
const TAGS_SINCE = '2010-08-31';
const SOAP_VERSIONS = ['2008-05-05', '2009-08-15', '2010-06-15', '2010-08-31'];

export const CLIENTS: readonly MatrixClient[] = [
  { row: 'aws', name: 'aws', signature: 'v4', needs: ['awscli'], program: NODE, script: 'awscli.mjs' },
  { row: 'boto3', name: 'boto3', signature: 'v4', needs: ['boto3'], program: PYTHON, script: 'boto_3.py' },
  { row: 'boto2-v4', name: 'boto 2', signature: 'v4', needs: ['boto2'], program: PYTHON, script: 'boto_2.py', variant: 'v4' },
  { row: 'boto2-v2', name: 'boto 2', signature: 'v2', needs: ['boto2'], program: PYTHON, script: 'boto_2.py', variant: 'v2' },
  { row: 'sdk3', name: '@aws-sdk/client-ec2', signature: 'v4', needs: [], program: NODE, script: 'sdk3.mjs' },
  { row: 'sdk2-v4', name: 'aws-sdk', signature: 'v4', needs: ['awssdk2'], program: NODE, script: 'sdk2.mjs', variant: 'v4' },
  { row: 'sdk2-v2', name: 'aws-sdk', signature: 'v2', needs: ['awssdk2'], program: NODE, script: 'sdk2.mjs', variant: 'v2' },
  { row: 'libcloud', name: 'libcloud NIMBUS', signature: 'v2', needs: ['libcloud'], program: PYTHON, script: 'apache_libcloud.py' },
  ...SOAP_VERSIONS.flatMap((version): MatrixClient[] => [
    { row: `zeep-${version}`, name: 'zeep + xmlsec', signature: `X.509 ${version}`, needs: ['zeep', 'xmlsec'], program: PYTHON, script: 'zeep_wsse.py', variant: version, wired: version < TAGS_SINCE },
    { row: `axis-${version}`, name: 'Apache Axis', signature: `X.509 ${version}`, needs: ['axis'], program: NODE, script: 'axis.mjs', variant: version, wired: version < TAGS_SINCE },
    { row: `soap-${version}`, name: 'soap (npm)', signature: `X.509 ${version}`, needs: ['soapjs'], program: NODE, script: 'soap.mjs', variant: version, wired: version < TAGS_SINCE },
  ]),
];

export const argv = (client: MatrixClient, mode: 'session' | 'guest', endpoint: string, image: string, keyFile: string): string[] => [
  ...(client.program === PYTHON ? ['-W', 'ignore'] : []), join(import.meta.dirname, 'clients', client.script),
  mode, endpoint, image, client.row, keyFile, ...(client.variant === undefined ? [] : [client.variant]),
];

export const STEPS = ['images', 'key pair', 'run', 'running', 'console', 'tags', 'filter', 'wildcard', 'reboot', 'terminate', 'terminated'] as const;
export type Step = (typeof STEPS)[number];

export const REFUSALS = {
  'unknown instance': ['InvalidInstanceID.NotFound'],
  'unknown image': ['InvalidAMIID.NotFound'],
  'second key pair': ['InvalidKeyPair.Duplicate'],
  'wrong secret': ['SignatureDoesNotMatch', 'AuthFailure'],
  'tried or out of range': ['DryRunOperation', 'InvalidParameterValue'],
} as const;
export type Refusal = keyof typeof REFUSALS;
export const REFUSED = Object.keys(REFUSALS) as Refusal[];

export interface StepLine {
  readonly step: Step | 'way in';
  readonly saw?: unknown;
  /** The client's own word for it. */
  readonly how?: string;
  /** Why there is no such step. */
  readonly missing?: string;
}

export interface RefusalLine {
  readonly refusal: Refusal;
  /** null: it was not refused. */
  readonly code?: string | null;
  /** null: the client does not show it. */
  readonly status?: number | null;
  readonly message?: string;
  readonly missing?: string;
}

export interface Found {
  readonly version: string;
  readonly steps: readonly StepLine[];
  readonly refusals: readonly RefusalLine[];
  /** By ssh, with the client's key, where the client's answer says; undefined: not tried. */
  reached?: true;
}

/** What a script printed. */
export function found(lines: readonly string[]): Found {
  const said = lines.map((line) => JSON.parse(line) as { version?: string } & Partial<StepLine> & Partial<RefusalLine>);
  return { version: said[0]?.version ?? '', steps: said.filter((l): l is StepLine => l.step !== undefined), refusals: said.filter((l): l is RefusalLine => l.refusal !== undefined) };
}
