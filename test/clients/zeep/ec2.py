"""
An EC2 session over SOAP with zeep and xmlsec. argv: endpoint, version of the API, image, certificate, key, and a certificate and key that
no user has. Prints what it saw as JSON.
"""
import base64
import datetime
import json
import sys
import time

import requests
from lxml import etree
from zeep import Client, Transport
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.wsse.signature import BinarySignature
from zeep.wsse.utils import WSU, get_security_header

endpoint, version, image, cert, key, other_cert, other_key = sys.argv[1:]
DEADLINE = time.monotonic() + 200


class Signed(BinarySignature):
    def apply(self, envelope, headers):
        now = datetime.datetime.utcnow()
        written = [t.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" for t in (now, now + datetime.timedelta(minutes=5))]
        get_security_header(envelope).append(WSU.Timestamp(WSU.Created(written[0]), WSU.Expires(written[1])))
        return super().apply(envelope, headers)

    # Answers are not signed.
    def verify(self, envelope):
        return envelope


def client(certificate, private_key):
    session = requests.Session()
    session.trust_env = False
    return Client("%s/?wsdl&version=%s" % (endpoint, version), wsse=Signed(private_key, certificate), transport=Transport(session=session, operation_timeout=30))


ec2 = client(cert, key)


def ask(name, **values):
    return serialize_object(ec2.service[name](**values), dict)


def refused(call):
    try:
        call()
    except Fault as fault:
        return [fault.code, [str(e.tag) for e in fault.detail]]
    return None


def items(found):
    return found if isinstance(found, list) else (found or {}).get("item") or []


def ids(names):
    return {"item": [{"instanceId": i} for i in names]}


def instances(names):
    answer = ask("DescribeInstances", instancesSet=ids(names))
    found = answer if version == "2008-05-05" else answer["reservationSet"]
    return [i for r in items(found) for i in items(r["instancesSet"])]


def states(names):
    return sorted({i["instanceState"]["name"] for i in instances(names)})


def wait(names, state):
    while states(names) != [state]:
        if time.monotonic() > DEADLINE:
            raise SystemExit("not %s: %s" % (state, states(names)))
        time.sleep(0.2)


def flat(answer):
    """zeep hands out the only element of an answer by itself: in 2008 there is no id beside it."""
    return answer if isinstance(answer, list) else next(v for v in answer.values() if isinstance(v, dict) and "item" in v)


def run(**values):
    given = {"imageId": image, "minCount": 2, "maxCount": 2, "groupSet": {}, "instanceType": "m1.small"}
    return ask("RunInstances", **{**given, **values})


seen = {}
images = items(flat(ask("DescribeImages", imagesSet={})))
seen["image"] = [i["imageLocation"] for i in images]
name = "zeep " + version
made = ask("CreateKeyPair", keyName=name)
seen["key"] = made["keyMaterial"].splitlines()[0]
seen["keys"] = [k["keyName"] for k in items(flat(ask("DescribeKeyPairs", keySet={"item": [{"keyName": name}]})))]
seen["zones"] = [z["zoneName"] for z in items(flat(ask("DescribeAvailabilityZones", availabilityZoneSet={})))]
started = run(keyName=name, userData={"data": base64.b64encode(b"hello").decode(), "version": "1.0", "encoding": "base64"})
leased = [i["instanceId"] for i in items(started["instancesSet"])]
seen["groups"] = [g["groupId"] for g in items(started["groupSet"])]
seen["request id"] = None if version == "2008-05-05" else len(started["requestId"])
wait(leased, "running")
seen["running"] = [sorted(i["instanceId"] for i in instances(leased)) == sorted(leased), len(leased)]
seen["refused"] = [
    refused(lambda: ask("DescribeInstances", instancesSet=ids(["i-00000000000000000"]))),
    refused(lambda: run(imageId="ami-00000000000000000")),
    refused(lambda: run(instanceType="m9.nosuch")),
    refused(lambda: ask("CreateKeyPair", keyName=name)),
    refused(lambda: client(other_cert, other_key).service.DescribeInstances(instancesSet={})),
]
ended = items(flat(ask("TerminateInstances", instancesSet=ids(leased))))
seen["ended"] = sorted({(i.get("shutdownState") or i.get("currentState"))["name"] for i in ended})
wait(leased, "terminated")
seen["deleted"] = ask("DeleteKeyPair", keyName=name) if version == "2008-05-05" else ask("DeleteKeyPair", keyName=name)["return"]
print(json.dumps(seen))
