from urllib.parse import urlparse

import boto
from boto.ec2.connection import EC2Connection
from boto.regioninfo import RegionInfo

from session import ENDPOINT, INSTANCE_TYPE, SIGNATURE, play, until

URL = urlparse(ENDPOINT)


class Version2(EC2Connection):
    """As releases before 2.49 signed."""

    def _required_auth_capability(self):
        return ['ec2']


class Boto2:
    version = boto.__version__
    how = {'running': 'poll', 'terminated': 'poll'}

    def __init__(self, **more):
        kind = Version2 if SIGNATURE == 'v2' else EC2Connection
        self.ec2 = kind(region=RegionInfo(name='nimbus', endpoint=URL.hostname), port=URL.port, is_secure=False, path='/', **more)
        self.ec2.num_retries = 0

    def images(self):
        return [i.name for i in self.ec2.get_all_images()]

    def key_pair(self, name):
        return self.ec2.create_key_pair(name).material

    def run(self, image, count, key, user_data):
        return [i.id for i in self.ec2.run_instances(image, min_count=count, max_count=count, key_name=key, user_data=user_data, instance_type=INSTANCE_TYPE).instances]

    def wait(self, ids, state):
        instances = self.ec2.get_only_instances(ids)
        until(lambda: all(i.update() == state for i in instances))
        return [i.state for i in instances]

    def console(self, id):
        return (self.ec2.get_console_output(id).output or b'').decode()

    def tag(self, id, name):
        self.ec2.create_tags([id], {'Name': name})
        return [t.res_id for t in self.ec2.get_all_tags(filters={'key': 'Name', 'value': name})]

    def find(self, name):
        return [i.id for i in self.ec2.get_only_instances(filters={'tag:Name': name})]

    def reboot(self, ids):
        return self.ec2.reboot_instances(ids)

    def terminate(self, ids):
        return [i.state for i in self.ec2.terminate_instances(ids)]

    def look(self, id):
        return self.ec2.get_only_instances([id])

    def try_run(self, image):
        self.ec2.run_instances(image, dry_run=True)

    def way_in(self, id):
        [i] = self.ec2.get_only_instances([id])
        return {'address': i.ip_address, 'command': i.tags['nimbus:ssh']}

    def shown(self, e):
        return {'code': e.error_code, 'status': e.status, 'message': e.message}


play(Boto2(), Boto2(aws_secret_access_key='wrong'))
