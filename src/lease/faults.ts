/**
 * The registry of refusals: each code with its EC2 code and HTTP status, its WSRF fault and its meaning.
 * `docs/errors.md` is generated from it (`npm run docs:errors`) and a test keeps the two in step.
 * EC2 codes and statuses: EC2 API reference, "Error codes".
 */
export interface FaultFacts {
  readonly ec2: string;
  readonly http: number;
  /** Local name of the WSRF fault that grid clients get. */
  readonly wsrf: string;
  readonly meaning: string;
}

const f = (ec2: string, http: number, wsrf: string, meaning: string): FaultFacts => ({ ec2, http, wsrf, meaning });

export const FAULTS = {
  LeaseNotFound: f('InvalidInstanceID.NotFound', 400, 'WorkspaceUnknownFault', 'No lease of yours has this id.'),
  LeaseIdMalformed: f('InvalidInstanceID.Malformed', 400, 'WorkspaceUnknownFault', 'The text is no lease id.'),
  VolumeNotFound: f('InvalidVolume.NotFound', 400, 'WorkspaceUnknownFault', 'No lease of yours has a disk of this id.'),
  VolumeIdMalformed: f('InvalidVolumeID.Malformed', 400, 'WorkspaceUnknownFault', 'The text is no id of a volume.'),
  ImageNotFound: f('InvalidAMIID.NotFound', 400, 'WorkspaceResourceRequestDeniedFault', 'No image that you may use has this id or name.'),
  ImageIdMalformed: f('InvalidAMIID.Malformed', 400, 'WorkspaceMetadataFault', 'The text is no image id or name.'),
  ImageUnavailable: f('InvalidAMIID.Unavailable', 400, 'WorkspaceResourceRequestDeniedFault', 'The image exists but cannot be used now.'),
  ImageExists: f('InvalidAMIName.Duplicate', 400, 'WorkspaceMetadataFault', 'An image of this name exists already.'),
  RepositoryFull: f('InsufficientCapacity', 500, 'WorkspaceResourceRequestDeniedFault', 'The image repository has no space left.'),
  ImageInUse: f('InvalidAMIID.Unavailable', 400, 'WorkspaceMetadataFault', 'The image cannot be removed while leases use it.'),
  KeyPairNotFound: f('InvalidKeyPair.NotFound', 400, 'WorkspaceMetadataFault', 'No key pair of yours has this name.'),
  KeyPairExists: f('InvalidKeyPair.Duplicate', 400, 'WorkspaceMetadataFault', 'A key pair of this name exists already.'),
  KeyFormat: f('InvalidKey.Format', 400, 'WorkspaceMetadataFault', 'The text is no public key that SSH knows.'),
  NetworkNotFound: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'No network has this name.'),
  NetworkExists: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'A network of this name exists already.'),
  NetworkInUse: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The network or address is in use by leases.'),
  AddressExists: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The address, MAC or hostname is in a pool already.'),
  SubnetNotFound: f('InvalidSubnetID.NotFound', 400, 'WorkspaceResourceRequestDeniedFault', 'No network of the site is mirrored by a subnet of this id.'),
  VpcNotFound: f('InvalidVpcID.NotFound', 400, 'WorkspaceResourceRequestDeniedFault', 'The site has one VPC, and it has another id.'),
  SecurityGroupNotFound: f('InvalidGroup.NotFound', 400, 'WorkspaceMetadataFault', 'No security group of yours has this id or name.'),
  SecurityGroupIdMalformed: f('InvalidGroupId.Malformed', 400, 'WorkspaceMetadataFault', 'The text is no id of a security group.'),
  SecurityGroupExists: f('InvalidGroup.Duplicate', 400, 'WorkspaceMetadataFault', 'A security group of this name exists already.'),
  SecurityGroupInUse: f('DependencyViolation', 400, 'WorkspaceMetadataFault', 'The security group is in use by instances, or by rules of others.'),
  SecurityGroupDefault: f('CannotDelete', 400, 'WorkspaceMetadataFault', 'The default security group cannot be deleted.'),
  SecurityRuleExists: f('InvalidPermission.Duplicate', 400, 'WorkspaceMetadataFault', 'The security group has this rule already.'),
  SecurityRuleNotFound: f('InvalidPermission.NotFound', 400, 'WorkspaceMetadataFault', 'The security group has no such rule.'),
  SpotRequestNotFound: f('InvalidSpotInstanceRequestID.NotFound', 400, 'WorkspaceResourceRequestDeniedFault', 'No spot request of yours has this id.'),
  SpotRequestIdMalformed: f('InvalidSpotInstanceRequestID.Malformed', 400, 'WorkspaceResourceRequestDeniedFault', 'The text is no id of a spot request.'),
  NodeNotFound: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'No VMM node has this name.'),
  NodeExists: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'A VMM node of this name exists already.'),
  NodeInUse: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The VMM node holds leases.'),
  NodeUnreachable: f('Unavailable', 503, 'WorkspaceResourceRequestDeniedFault', 'The VMM node does not answer.'),
  NodeRefused: f('InternalError', 500, 'WorkspaceResourceRequestDeniedFault', 'The VMM node refused or failed the operation.'),
  UserNotFound: f('InvalidParameterValue', 400, 'WorkspaceCreationFault', 'No user has this name.'),
  UserExists: f('InvalidParameterValue', 400, 'WorkspaceCreationFault', 'A user of this name exists already.'),
  UserInUse: f('InvalidParameterValue', 400, 'WorkspaceCreationFault', 'The user has live leases.'),
  TypeUnknown: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The site offers no such instance type.'),
  ZoneUnknown: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The site has no such availability zone.'),
  NoCapacity: f('InsufficientInstanceCapacity', 500, 'WorkspaceResourceRequestDeniedFault', 'No node has room now; the reasons name each node.'),
  NoAddress: f('InsufficientAddressCapacity', 503, 'WorkspaceResourceRequestDeniedFault', 'The network has no free address.'),
  TooMany: f('InstanceLimitExceeded', 400, 'WorkspaceResourceRequestDeniedFault', 'The request exceeds a limit of the site or of a policy; the reasons say limit, used and asked.'),
  DurationRefused: f('InvalidParameterValue', 400, 'WorkspaceResourceRequestDeniedFault', 'The lease time asked for is longer than the site or a policy allows.'),
  TokenMismatch: f('IdempotentParameterMismatch', 400, 'WorkspaceCreationFault', 'The client token was used before with another request.'),
  PartlyDone: f('IncorrectInstanceState', 400, 'OperationDisabledFault', 'Some leases of a group could not be changed, the others were; the reasons name both.'),
  EnsembleNotFound: f('InvalidParameterValue', 400, 'WorkspaceUnknownFault', 'No ensemble of yours has this key.'),
  EnsembleDone: f('InvalidParameterValue', 400, 'WorkspaceEnsembleFault', 'The ensemble is done: nothing can be added, and it cannot be done again.'),
  EnsembleEmpty: f('InvalidParameterValue', 400, 'WorkspaceEnsembleFault', 'Nothing of the ensemble waits to be started.'),
  GroupNotFound: f('InvalidParameterValue', 400, 'WorkspaceUnknownFault', 'No group of yours has this key.'),
  SubscriptionNotFound: f('InvalidParameterValue', 400, 'ResourceUnknownFault', 'No subscription of yours has this key.'),
  ConsumerRefused: f('InvalidParameterValue', 400, 'SubscribeCreationFailedFault', 'Notifications are not sent to this address.'),
  StateRefused: f('IncorrectInstanceState', 400, 'OperationDisabledFault', 'The lease is in a state that does not allow the operation.'),
  SerializeUnsupported: f('UnsupportedOperation', 400, 'WorkspaceShutdownFault', 'The VMM of the lease’s node cannot keep the memory of a VM that does not run.'),
  EndProtected: f('OperationNotPermitted', 400, 'OperationDisabledFault', 'The lease is protected: its user must take the protection back before it can be ended.'),
  StopProtected: f('OperationNotPermitted', 400, 'OperationDisabledFault', 'The lease is protected: its user must take the protection back before it can be stopped.'),
  DryRun: f('DryRunOperation', 412, 'WorkspaceCreationFault', 'Request would have succeeded, but DryRun flag is set.'),
  PolicyNotFound: f('InvalidParameterValue', 400, 'AuthorizationFault', 'No policy has this name.'),
  PolicyInUse: f('InvalidParameterValue', 400, 'AuthorizationFault', 'The policy is assigned to users.'),
  DecisionFailed: f('Unavailable', 503, 'AuthorizationFault', 'The site’s own decision on the request could not be had; try again shortly.'),
  NotAuthorized: f('UnauthorizedOperation', 403, 'AuthorizationFault', 'You may not do this; the reasons say which policy refuses it.'),
  AuthFailure: f('AuthFailure', 401, 'AuthorizationFault', 'The credentials were not accepted.'),
  CredentialsUnknown: f('InvalidClientTokenId', 403, 'AuthorizationFault', 'No user has this access key.'),
  CertificateMissing: f('AuthFailure', 401, 'AuthorizationFault', 'The client presents no certificate, and the message is not signed.'),
  CertificateRefused: f('AuthFailure', 401, 'AuthorizationFault', 'The chain of certificates is not believed; the first reason is the rule that it breaks.'),
  DnUnknown: f('AuthFailure', 401, 'AuthorizationFault', 'The certificate is good, but no user of this site has its name.'),
  CertificateUnknown: f('AuthFailure', 401, 'AuthorizationFault', 'No user of this site has this certificate.'),
  CertificateTaken: f('InvalidParameterValue', 400, 'AuthorizationFault', 'The certificate belongs to a user already.'),
  DnTaken: f('InvalidParameterValue', 400, 'AuthorizationFault', 'The certificate name belongs to a user already.'),
  MessageRefused: f('AuthFailure', 401, 'AuthorizationFault', 'The signature of the message is not believed; the first reason is the rule that it breaks.'),
  CredentialsMissing: f('MissingAuthenticationToken', 403, 'AuthorizationFault', 'The request carries no credentials.'),
  SignatureMismatch: f('SignatureDoesNotMatch', 403, 'AuthorizationFault', 'The signature is not the one the secret key gives.'),
  RequestExpired: f('RequestExpired', 400, 'AuthorizationFault', 'The request is too old, too far in the future, or a repetition.'),
  ActionUnknown: f('InvalidAction', 400, 'ResourceUnknownFault', 'The service knows no such action.'),
  VersionUnknown: f('NoSuchVersion', 400, 'ResourceUnknownFault', 'The API version is no date.'),
  Unsupported: f('UnsupportedOperation', 400, 'OperationDisabledFault', 'This service does not offer the operation or option.'),
  ParameterMissing: f('MissingParameter', 400, 'WorkspaceCreationFault', 'A required parameter is missing.'),
  ParameterInvalid: f('InvalidParameterValue', 400, 'WorkspaceCreationFault', 'A parameter has a value that is not allowed.'),
  ParameterUnknown: f('UnknownParameter', 400, 'WorkspaceCreationFault', 'The action knows no such parameter.'),
  ParameterConflict: f('InvalidParameterCombination', 400, 'WorkspaceCreationFault', 'These parameters exclude each other.'),
  UserDataMalformed: f('InvalidUserData.Malformed', 400, 'WorkspaceMetadataFault', 'User data is no base64 or too long.'),
  TokenPageInvalid: f('InvalidNextToken', 400, 'WorkspaceCreationFault', 'The paging token is not one that this service gave.'),
  TagRefused: f('InvalidParameterValue', 400, 'WorkspaceCreationFault', 'The tag key or value is not allowed.'),
  TagLimit: f('TagLimitExceeded', 400, 'WorkspaceCreationFault', 'The resource would have too many tags.'),
  ResourceNotFound: f('InvalidID', 400, 'ResourceUnknownFault', 'No resource of yours has this id.'),
  RequestMalformed: f('MalformedQueryString', 400, 'WorkspaceCreationFault', 'The request cannot be read.'),
  RequestTooLarge: f('RequestEntityTooLarge', 413, 'WorkspaceCreationFault', 'The request exceeds the size limit.'),
  Throttled: f('RequestLimitExceeded', 503, 'WorkspaceResourceRequestDeniedFault', 'The account sends more requests than the site allows it; wait a moment.'),
  Busy: f('RequestLimitExceeded', 503, 'WorkspaceResourceRequestDeniedFault', 'Too much is waiting already; try again shortly.'),
  Unavailable: f('Unavailable', 503, 'WorkspaceCreationFault', 'The service cannot answer now; try again shortly.'),
  Internal: f('InternalError', 500, 'WorkspaceCreationFault', 'The service failed; its log has the request id.'),
} as const satisfies Record<string, FaultFacts>;

export type FaultCode = keyof typeof FAULTS;

/** Every refusal that leaves a floor. `message` is for the user; `reasons` name each node or policy that refused. */
export class Fault extends Error {
  override readonly name = 'Fault';
  constructor(
    readonly code: FaultCode,
    message: string,
    readonly reasons: readonly string[] = [],
    options?: { cause?: unknown; /** EC2 code to answer instead of the registry's, where one code has several */ ec2?: string },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.ec2 = options?.ec2 ?? FAULTS[code].ec2;
    this.http = FAULTS[code].http;
  }
  readonly ec2: string;
  readonly http: number;
  /** Message and reasons in one line, for doors that have room for text only. */
  get text(): string {
    return this.reasons.length === 0 ? this.message : `${this.message} (${this.reasons.join('; ')})`;
  }
}

export function isFault(e: unknown): e is Fault {
  return e instanceof Fault;
}
