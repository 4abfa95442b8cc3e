import os

import boto3
from botocore.config import Config

from session import ENDPOINT, INSTANCE_TYPE, play

WAITER = {'Delay': 1, 'MaxAttempts': 240}


class Boto3:
    version = boto3.__version__
    how = {'running': 'waiter', 'terminated': 'waiter'}

    def __init__(self, **more):
        self.ec2 = boto3.client('ec2', endpoint_url=ENDPOINT, config=Config(retries={'max_attempts': 0}), **more)

    def images(self):
        return [i['Name'] for i in self.ec2.describe_images()['Images']]

    def key_pair(self, name):
        return self.ec2.create_key_pair(KeyName=name)['KeyMaterial']

    def run(self, image, count, key, user_data):
        return [i['InstanceId'] for i in self.ec2.run_instances(
            ImageId=image, MinCount=count, MaxCount=count, KeyName=key, UserData=user_data, InstanceType=INSTANCE_TYPE)['Instances']]

    def instances(self, **which):
        return [i for page in self.ec2.get_paginator('describe_instances').paginate(**which) for r in page['Reservations'] for i in r['Instances']]

    def wait(self, ids, state):
        self.ec2.get_waiter('instance_' + state).wait(InstanceIds=ids, WaiterConfig=WAITER)
        return [i['State']['Name'] for i in self.instances(InstanceIds=ids)]

    def console(self, id):
        return self.ec2.get_console_output(InstanceId=id).get('Output', '')

    def tag(self, id, name):
        self.ec2.create_tags(Resources=[id], Tags=[{'Key': 'Name', 'Value': name}])
        return [t['ResourceId'] for t in self.ec2.describe_tags(Filters=[{'Name': 'key', 'Values': ['Name']}, {'Name': 'value', 'Values': [name]}])['Tags']]

    def find(self, name):
        return [i['InstanceId'] for i in self.instances(Filters=[{'Name': 'tag:Name', 'Values': [name]}])]

    def reboot(self, ids):
        return self.ec2.reboot_instances(InstanceIds=ids)['ResponseMetadata']['HTTPStatusCode'] == 200

    def terminate(self, ids):
        return [i['CurrentState']['Name'] for i in self.ec2.terminate_instances(InstanceIds=ids)['TerminatingInstances']]

    def look(self, id):
        return self.ec2.describe_instances(InstanceIds=[id])

    def try_run(self, image):
        self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, DryRun=True)

    def way_in(self, id):
        [i] = self.instances(InstanceIds=[id])
        return {'address': i['PublicIpAddress'], 'command': {t['Key']: t['Value'] for t in i['Tags']}['nimbus:ssh']}

    def shown(self, e):
        return {'code': e.response['Error']['Code'], 'status': e.response['ResponseMetadata']['HTTPStatusCode'], 'message': e.response['Error']['Message']}


play(Boto3(), Boto3(aws_access_key_id=os.environ['AWS_ACCESS_KEY_ID'], aws_secret_access_key='wrong'))
