"""A session with boto 2.49: argv = host, port, access key, secret. Prints what it saw as JSON."""
import json
import sys

from boto.ec2.connection import EC2Connection
from boto.exception import EC2ResponseError
from boto.regioninfo import RegionInfo

host, port, key, secret = sys.argv[1:5]
ec2 = EC2Connection(key, secret, region=RegionInfo(name='nimbus', endpoint=host), port=int(port), is_secure=False, path='/services/Eucalyptus')
ec2.num_retries = 0
seen = {}
seen['regions'] = [[r.name, r.endpoint] for r in ec2.get_all_regions()]
seen['images'] = [i.name for i in ec2.get_all_images()]
seen['material'] = ec2.create_key_pair('boto2-key').material.startswith('-----BEGIN')
reservation = ec2.run_instances('guest', key_name='boto2-key', user_data='hello', instance_type='m1.small')
instance = reservation.instances[0]
seen['state'] = instance.state
seen['then'] = instance.update()
seen['address'] = [instance.ip_address, instance.private_ip_address, instance.public_dns_name]
instance.add_tag('Name', 'x')
seen['tags'] = [[t.name, t.value] for t in ec2.get_all_tags(filters={'resource-id': instance.id})]
seen['console'] = instance.get_console_output().output.decode()
seen['status'] = [[s.id, s.instance_status.status, [e.code for e in s.events]] for s in ec2.get_all_instance_status()]
instance.update()
[(device, mapped)] = instance.block_device_mapping.items()
[volume] = ec2.get_all_volumes(filters={'attachment.instance-id': instance.id})
seen['disk'] = [[device, mapped.volume_id == volume.id, mapped.status, mapped.delete_on_termination],
                [volume.size, volume.status, volume.attach_data.device, volume.attach_data.instance_id == instance.id]]
seen['groups'] = [g.name for g in ec2.get_all_security_groups()]
instance.reboot()
seen['terminated'] = [i.state for i in ec2.terminate_instances([instance.id])]
try:
    ec2.get_all_instances(['i-ffffffff'])
except EC2ResponseError as e:
    seen['error'] = [e.status, e.error_code]
print(json.dumps(seen))
