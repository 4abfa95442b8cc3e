"""A session with boto3: argv = endpoint, access key, secret. Prints what it saw as JSON."""
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url, key, secret = sys.argv[1:4]


def client(**config):
    return boto3.client('ec2', endpoint_url=url, region_name='nimbus', aws_access_key_id=key, aws_secret_access_key=secret,
                        config=Config(retries={'max_attempts': 0}, **config))


ec2 = client()
seen = {}
seen['regions'] = [r['RegionName'] for r in ec2.describe_regions()['Regions']]
seen['image'] = ec2.describe_images(Filters=[{'Name': 'name', 'Values': ['gue*']}])['Images'][0]['ImageId']
seen['material'] = ec2.create_key_pair(KeyName='boto3-key')['KeyMaterial'].startswith('-----BEGIN')
run = ec2.run_instances(ImageId=seen['image'], MinCount=2, MaxCount=2, KeyName='boto3-key', UserData='#!/bin/sh\n',
                        TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'nimbus:duration', 'Value': '1h'}]}])
ids = [i['InstanceId'] for i in run['Instances']]
seen['state'] = run['Instances'][0]['State']['Name']
ec2.get_waiter('instance_running').wait(InstanceIds=ids)
ec2.get_waiter('instance_status_ok').wait(InstanceIds=ids)
seen['pages'] = sum(len(p['Reservations']) for p in ec2.get_paginator('describe_instances').paginate(PaginationConfig={'PageSize': 5}))
seen['console'] = ec2.get_console_output(InstanceId=ids[0])['Output']
ec2.get_waiter('volume_in_use').wait(Filters=[{'Name': 'attachment.instance-id', 'Values': ids}])
disks = [(d['DeviceName'], d['Ebs']) for r in ec2.describe_instances(InstanceIds=ids)['Reservations'] for i in r['Instances'] for d in i['BlockDeviceMappings']]
volumes = {v['VolumeId']: v for v in ec2.describe_volumes(VolumeIds=[ebs['VolumeId'] for _, ebs in disks])['Volumes']}
seen['disks'] = [[device, ebs['Status'], volumes[ebs['VolumeId']]['Size'], volumes[ebs['VolumeId']]['State']] for device, ebs in disks]
ec2.reboot_instances(InstanceIds=ids)
seen['terminating'] = [i['CurrentState']['Name'] for i in ec2.terminate_instances(InstanceIds=ids)['TerminatingInstances']]
seen['v2'] = [r['RegionName'] for r in client(signature_version='v2').describe_regions()['Regions']]
try:
    ec2.describe_instances(InstanceIds=['i-ffffffff'])
except ClientError as e:
    seen['error'] = [e.response['Error']['Code'], e.response['ResponseMetadata']['HTTPStatusCode'], len(e.response['ResponseMetadata']['RequestId'])]
presigned = ec2.generate_presigned_url('describe_regions', HttpMethod='GET')
import urllib.request
seen['presigned'] = urllib.request.urlopen(presigned).status
print(json.dumps(seen))
