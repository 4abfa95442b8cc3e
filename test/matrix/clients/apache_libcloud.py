import os
from urllib.parse import urlparse

import libcloud
from libcloud.compute.base import NodeImage, NodeSize
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

from session import ENDPOINT, INSTANCE_TYPE, ROW, play, until

URL = urlparse(ENDPOINT)


class Libcloud:
    version = libcloud.__version__
    how = {'running': 'wait_until_running', 'tags': 'at creation', 'terminated': 'poll'}

    def __init__(self, secret=os.environ['AWS_SECRET_ACCESS_KEY']):
        self.driver = get_driver(Provider.NIMBUS)(os.environ['AWS_ACCESS_KEY_ID'], secret, host=URL.hostname, port=URL.port, secure=False)

    def images(self):
        return [i.name for i in self.driver.list_images()]

    def key_pair(self, name):
        return self.driver.create_key_pair(name).private_key

    def run(self, image, count, key, user_data):
        size = NodeSize(INSTANCE_TYPE, INSTANCE_TYPE, 0, 0, None, None, self.driver)
        made = self.driver.create_node(name=ROW + ' é+~/ 1', image=NodeImage(image, image, self.driver), size=size, ex_mincount=count, ex_maxcount=count,
                                       ex_keyname=key, ex_userdata=user_data)
        return [n.id for n in (made if isinstance(made, list) else [made])]

    def nodes(self, ids):
        return self.driver.list_nodes(ex_node_ids=ids)

    def wait(self, ids, state):
        if state == 'running':
            return [node.state for node, _ in self.driver.wait_until_running(self.nodes(ids), wait_period=0.25, timeout=240)]
        until(lambda: all(n.state == state for n in self.nodes(ids)))
        return [n.state for n in self.nodes(ids)]

    def console(self, id):
        return self.driver.ex_get_console_output(self.nodes([id])[0])['output'] or ''

    def tag(self, id, name):
        # The driver's ex_create_tags does nothing.
        return [n.id for n in self.driver.list_nodes() if n.name == name]

    def find(self, name):
        return [n.id for n in self.driver.list_nodes(ex_filters={'tag:Name': name})]

    def reboot(self, ids):
        return all([self.driver.reboot_node(n) for n in self.nodes(ids)])

    def terminate(self, ids):
        return ['shutting-down' if self.driver.destroy_node(n) else n.state for n in self.nodes(ids)]

    def look(self, id):
        return self.nodes([id])

    def try_run(self, image):
        self.run(image, 0, ROW, '')

    def way_in(self, id):
        [n] = self.nodes([id])
        return {'address': n.public_ips[0], 'command': n.extra['tags']['nimbus:ssh']}

    def shown(self, e):
        # Code and message are one text; what is wrong with the secret has a class of its own.
        code, _, message = str(getattr(e, 'value', None) or e).strip("'").partition(': ')
        return {'code': code, 'status': getattr(e, 'code', None), 'message': message}


play(Libcloud(), Libcloud('wrong'))
