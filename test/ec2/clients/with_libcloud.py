"""A session with Apache Libcloud: argv = driver, host, port, access key, secret, signature version. Prints what it saw as JSON."""
import json
import sys

from libcloud.common.types import InvalidCredsError
from libcloud.compute.base import NodeSize
from libcloud.compute.providers import get_driver
from libcloud.compute.types import KeyPairDoesNotExistError

name, host, port, key, secret, signature = sys.argv[1:7]


def connect(secret):
    where = {'path': '/services/Eucalyptus'} if name == 'eucalyptus' else {'region': 'us-east-1', 'signature_version': signature} if name == 'ec2' else {}
    return get_driver(name)(key, secret, host=host, port=int(port), secure=False, **where)


driver = connect(secret)
seen = {}
if name == 'nimbus':
    seen['locations'] = [place.name for place in driver.list_locations()]
    seen['sizes'] = [size.id for size in driver.list_sizes()]
image = [i for i in driver.list_images() if i.name == 'guest'][0]
pair = driver.create_key_pair('libcloud-' + name + signature)
seen['material'] = pair.private_key.startswith('-----BEGIN')
seen['pairs'] = driver.get_key_pair(pair.name).name == pair.name
try:
    driver.get_key_pair('none')
except KeyPairDoesNotExistError as e:
    seen['missing'] = e.name
size = NodeSize('m1.small', 'm1.small', 0, 0, None, None, driver)
made = driver.create_node(name='a node', image=image, size=size, ex_keyname=pair.name, ex_userdata='#!/bin/sh\n', ex_metadata={'role': 'web', 'nimbus:duration': '2h'})
node, addresses = driver.wait_until_running([made], wait_period=0.1, timeout=20)[0]
seen['node'] = [node.name, node.state, addresses, node.extra['tags'].get('role')]
seen['console'] = driver.ex_get_console_output(node)['output']
# The driver for Nimbus gives tags at creation only.
driver.ex_create_tags(node, {'nimbus:duration': '3h'})
seen['duration'] = [n for n in driver.list_nodes() if n.id == node.id][0].extra['tags'].get('nimbus:duration')
[disk] = driver.list_volumes(node)
seen['disk'] = [disk.id == 'vol-' + node.id[2:], disk.size, disk.state, disk.extra['device'], disk.extra['instance_id'] == node.id]
seen['snapshots'] = driver.list_snapshots()
seen['rebooted'] = driver.reboot_node(node)
seen['destroyed'] = driver.destroy_node(node)
seen['removed'] = driver.delete_key_pair(pair)
try:
    connect('wrong').list_images()
except InvalidCredsError:
    seen['wrong'] = 'InvalidCredsError'
print(json.dumps(seen))
