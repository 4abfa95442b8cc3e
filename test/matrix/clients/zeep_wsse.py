import datetime
import os
from base64 import b64decode, b64encode

import requests
import zeep
from zeep.transports import Transport
from zeep.wsse import utils
from zeep.wsse.signature import BinarySignature

from session import ENDPOINT, INSTANCE_TYPE, NotOffered, ROW, SIGNATURE as VERSION, play, until

TAGS = '2010-08-31'


class Signed(BinarySignature):
    """With a Timestamp, which the signature covers as the Body."""

    def apply(self, envelope, headers):
        now = datetime.datetime.utcnow()
        stamp = utils.WSU.Timestamp(utils.WSU.Created(now.isoformat() + 'Z'), utils.WSU.Expires((now + datetime.timedelta(minutes=5)).isoformat() + 'Z'))
        utils.get_security_header(envelope).append(stamp)
        return super().apply(envelope, headers)

    def verify(self, envelope):
        """Answers are not signed."""
        return envelope


def listed(answer, name=None):
    """The items of a set. What stands alone in an answer has no name in zeep."""
    found = answer if name is None or name not in dir(answer) else answer[name]
    return found if isinstance(found, list) else found['item'] or [] if found is not None else []


class Zeep:
    version = zeep.__version__
    how = {'running': 'poll', 'terminated': 'poll'}

    def __init__(self, key):
        session = requests.Session()
        session.trust_env = False
        self.ec2 = zeep.Client('%s/?wsdl&version=%s' % (ENDPOINT, VERSION), wsse=Signed(key, os.environ['EC2_CERT']), transport=Transport(session=session)).service

    def images(self):
        found = listed(self.ec2.DescribeImages(executableBySet={}, imagesSet={}, ownersSet={}), 'imagesSet')
        # Names of images came with 2010-06-15.
        return [i['name'] if 'name' in dir(i) else i['imageLocation'].split('/')[-1] for i in found]

    def key_pair(self, name):
        return self.ec2.CreateKeyPair(keyName=name)['keyMaterial']

    def run(self, image, count, key, user_data):
        data = {'data': b64encode(user_data.encode()).decode(), 'version': '1.0', 'encoding': 'base64'}
        made = self.ec2.RunInstances(imageId=image, minCount=count, maxCount=count, keyName=key, groupSet={}, userData=data, instanceType=INSTANCE_TYPE)
        return [i['instanceId'] for i in listed(made, 'instancesSet')]

    def instances(self, ids, **more):
        found = self.ec2.DescribeInstances(instancesSet={'item': [{'instanceId': id} for id in ids]}, **more)
        return [i for r in listed(found, 'reservationSet') for i in listed(r['instancesSet'])]

    def wait(self, ids, state):
        until(lambda: all(i['instanceState']['name'] == state for i in self.instances(ids)))
        return [i['instanceState']['name'] for i in self.instances(ids)]

    def console(self, id):
        return b64decode(self.ec2.GetConsoleOutput(instanceId=id)['output'] or '').decode()

    def filters(self, **wanted):
        if VERSION < TAGS:
            raise NotOffered('no tags and filters in ' + VERSION)
        return {'item': [{'name': name.replace('_', ':'), 'valueSet': {'item': [{'value': value}]}} for name, value in wanted.items()]}

    def tag(self, id, name):
        filters = self.filters(key='Name', value=name)
        self.ec2.CreateTags(resourcesSet={'item': [{'resourceId': id}]}, tagSet={'item': [{'key': 'Name', 'value': name}]})
        return [t['resourceId'] for t in listed(self.ec2.DescribeTags(filterSet=filters), 'tagSet')]

    def find(self, name):
        return [i['instanceId'] for i in self.instances([], filterSet=self.filters(tag_Name=name))]

    def reboot(self, ids):
        answer = self.ec2.RebootInstances(instancesSet={'item': [{'instanceId': id} for id in ids]})
        return answer if isinstance(answer, bool) else answer['return']

    def terminate(self, ids):
        state = 'currentState' if VERSION >= '2010-06-15' else 'shutdownState'
        return [i[state]['name'] for i in listed(self.ec2.TerminateInstances(instancesSet={'item': [{'instanceId': id} for id in ids]}), 'instancesSet')]

    def look(self, id):
        return self.instances([id])

    def try_run(self, image):
        self.run(image, 0, ROW, '')

    def way_in(self, id):
        [i] = self.instances([id])
        if VERSION < TAGS:
            return {'address': i['ipAddress'] if 'ipAddress' in dir(i) else i['dnsName']}
        return {'address': i['ipAddress'], 'command': {t['key']: t['value'] for t in listed(i['tagSet'])}['nimbus:ssh']}

    def shown(self, e):
        return {'code': e.code, 'message': e.message}


play(Zeep(os.environ['EC2_PRIVATE_KEY']), Zeep(os.environ['WRONG_PRIVATE_KEY']))
