/** Actions of the versions that this service has not, each by the version that brought it: refused by name. */
import type { SoapVersion } from '../shapes.ts';

export const WITHOUT_FORM: Readonly<Record<SoapVersion, readonly string[]>> = {
  '2008-05-05': [
    'AllocateAddress', 'AssociateAddress', 'AttachVolume', 'ConfirmProductInstance', 'CreateSnapshot', 'CreateVolume',
    'DeleteSnapshot', 'DeleteVolume', 'DetachVolume', 'DisassociateAddress', 'ReleaseAddress',
  ],
  '2009-08-15': [
    'AssociateDhcpOptions', 'AttachVpnGateway', 'BundleInstance', 'CancelBundleTask', 'CreateCustomerGateway',
    'CreateDhcpOptions', 'CreateSubnet', 'CreateVpc', 'CreateVpnConnection', 'CreateVpnGateway', 'DeleteCustomerGateway',
    'DeleteDhcpOptions', 'DeleteSubnet', 'DeleteVpc', 'DeleteVpnConnection', 'DeleteVpnGateway', 'DescribeBundleTasks',
    'DescribeCustomerGateways', 'DescribeReservedInstances', 'DescribeReservedInstancesOfferings',
    'DescribeSnapshotAttribute', 'DescribeVpnConnections', 'DescribeVpnGateways', 'DetachVpnGateway', 'ModifySnapshotAttribute',
    'PurchaseReservedInstancesOffering', 'ResetSnapshotAttribute',
  ],
  '2010-06-15': [
    'ActivateLicense', 'CreatePlacementGroup', 'CreateSpotDatafeedSubscription', 'DeactivateLicense', 'DeletePlacementGroup',
    'DeleteSpotDatafeedSubscription', 'DescribeLicenses', 'DescribeSpotDatafeedSubscription',
  ],
  '2010-08-31': [],
};
