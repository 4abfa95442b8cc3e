"""Every operation of the grid services, by a client stack that knows them from their WSDL only. Prints what it saw as JSON.

usage: every_operation.py BASE CONSUMER [CERT KEY CA]      BASE ends with a slash; CONSUMER is an address that takes notifications
"""
import datetime
import json
import sys
import time

import requests
from lxml import etree
from zeep import Client, Settings
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.transports import Transport

BASE, CONSUMER = sys.argv[1], sys.argv[2]
W = "http://www.globus.org/2008/06/workspace"
WT = W + "/types"
WSA = "http://schemas.xmlsoap.org/ws/2004/03/addressing"
WSRL = "http://docs.oasis-open.org/wsrf/2004/06/wsrf-WS-ResourceLifetime-1.2-draft-01.xsd"
WSNT = "http://docs.oasis-open.org/wsn/2004/06/wsn-WS-BaseNotification-1.2-draft-01.xsd"
SIMPLE = "http://docs.oasis-open.org/wsn/2004/06/TopicExpression/Simple"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"

session = requests.Session()
# Authorities and proxies are what the command line says, whatever the environment has.
session.trust_env = False
if len(sys.argv) > 3:
    session.cert, session.verify = (sys.argv[3], sys.argv[4]), sys.argv[5]
SEEN = {}


def client(name):
    return Client(BASE + name + "?wsdl", transport=Transport(session=session), settings=Settings(strict=True))


factory, instance, group, ensemble, status, manager = (
    client(n) for n in ("WorkspaceFactoryService", "WorkspaceService", "WorkspaceGroupService", "WorkspaceEnsembleService", "WorkspaceStatusService", "SubscriptionManagerService"))


def keys(reference):
    """The reference properties of an endpoint, as headers."""
    properties = reference["ReferenceProperties"]
    return list(properties["_value_1"] if isinstance(properties["_value_1"], list) else [properties["_value_1"]])


def call(service, operation, reference=None, *args, **kwargs):
    if reference is not None:
        kwargs["_soapheaders"] = keys(reference)
    name = service.wsdl.services and list(service.wsdl.services)[0]
    answer = service.service[operation](*args, **kwargs)
    SEEN.setdefault(name, []).append(operation)
    return answer


def call_mixed(service, operation, reference, element, text, **kwargs):
    """zeep writes no text into mixed content: the message that it made is completed, and its answer read by zeep again."""
    headers = keys(reference) if reference is not None else None
    binding, options = service.service._binding, service.service._binding_options
    envelope, http = binding._create(operation, (), dict(kwargs, _soapheaders=headers), client=service, options=options)
    place = envelope.find(".//{*}" + element)
    whole = etree.Element(place.tag, attrib=dict(place.attrib), nsmap={"t": WT})
    whole.text = text
    place.getparent().replace(place, whole)
    answer = binding.process_reply(service, binding.get(operation), service.transport.post_xml(options["address"], envelope, http))
    SEEN.setdefault(list(service.wsdl.services)[0], []).append(operation)
    return answer


def query(service, reference=None, path="/"):
    return call_mixed(service, "QueryResourceProperties", reference, "QueryExpression", path, QueryExpression={"Dialect": XPATH})


def metadata(image="base.img"):
    return {
        "name": "http://example/zeep",
        "logistics": {"networking": {"nic": [{"name": "eth0", "association": "public", "ipConfig": {"acquisitionMethod": "AllocateAndConfigure"}}]}},
        "definition": {
            "requirements": {"CPUArchitecture": {"CPUArchitectureName": "x86"}, "VMM": {"type": "Xen", "version": ["3"]}},
            "diskCollection": {"rootVBD": {"location": "http://example/images/" + image, "mountAs": "sda1", "permissions": "ReadWrite"}},
        },
    }


def create(count=1, state="Running", image="base.img", **more):
    return call(factory, "create", None, metadata=metadata(image), resourceRequest={
        "DeploymentTime": {"minDuration": datetime.timedelta(minutes=30)}, "InitialState": state, "NodeNumber": count, "ShutdownMechanism": "Trash",
        "ResourceAllocation": {"IndividualPhysicalMemory": {"Exact": [{"_value_1": 256.0}]}},
    }, **more)


def state(epr):
    answer = call(instance, "GetResourceProperty", epr, etree.QName(WT, "currentState"))
    found = answer[0] if isinstance(answer, list) else answer
    found = found["_value_1"] if isinstance(found, dict) or hasattr(found, "_value_1") else found
    found = found[0] if isinstance(found, list) else found
    return found.findtext("{%s}state" % WT) if isinstance(found, etree._Element) else found["state"]


def until(epr, wanted):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        seen = state(epr)
        if seen == wanted:
            return seen
    raise SystemExit("%s is not %s" % (seen, wanted))


def refused(work):
    try:
        work()
    except Fault as e:
        detail = e.detail
        return None if detail is None else etree.QName(detail[0]).localname
    return "nothing was refused"


# The factory, and one workspace through its life.
out = {}
call(factory, "GetResourceProperty", None, etree.QName(WT, "DefaultRunningTime"))
call(factory, "GetMultipleResourceProperties", None, [etree.QName(WT, "DefaultRunningTime"), etree.QName(WT, "MaximumRunningTime")])
query(factory)
one = create()
out["epr"] = serialize_object(one["CreatedWorkspace"][0]["epr"]["Address"])["_value_1"]
out["nic"] = one["CreatedWorkspace"][0]["networking"]["nic"][0]["ipConfig"]["ipAddress"]
out["no-group"] = one["GroupEPR"] is None or one["GroupEPR"]["Address"] is None
epr = one["CreatedWorkspace"][0]["epr"]
out["running"] = until(epr, "Running")
call(instance, "GetMultipleResourceProperties", epr, [etree.QName(WT, "currentState"), etree.QName(WT, "schedule")])
query(instance, epr)
out["query"] = query(instance, epr, "//t:state") is not None
subscribed = call_mixed(instance, "Subscribe", epr, "TopicExpression", "t:currentState",
                        ConsumerReference={"Address": {"_value_1": CONSUMER}}, TopicExpression={"Dialect": SIMPLE})
subscription = subscribed["SubscriptionReference"] if "SubscriptionReference" in dir(subscribed) else subscribed
call(manager, "GetResourceProperty", subscription, etree.QName(WSNT, "CreationTime"))
call(manager, "PauseSubscription", subscription)
call(manager, "ResumeSubscription", subscription)
call(manager, "SetTerminationTime", subscription, datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=10))
call_mixed(instance, "GetCurrentMessage", epr, "Topic", "t:currentState", Topic={"Dialect": SIMPLE})
call(manager, "Destroy", subscription)
out["unsubscribed"] = refused(lambda: call(manager, "Destroy", subscription))
for kind, after in (("Pause", "Paused"), ("Reboot", "Running"), ("Serialize", "Propagated"), ("Normal", "Propagated")):
    call(instance, "shutdown", epr, kind)
    out[kind] = until(epr, after)
    call(instance, "start", epr)
    until(epr, "Running")
later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=40)
out["termination"] = str(call(instance, "SetTerminationTime", epr, later)["NewTerminationTime"]) != ""
call(instance, "Destroy", epr)
out["destroyed"] = refused(lambda: call(instance, "Destroy", epr))

# A group.
many = create(count=2)
for w in many["CreatedWorkspace"]:
    until(w["epr"], "Running")
for kind, after in (("Pause", "Paused"), ("Serialize", "Propagated")):
    call(group, "shutdown", many["GroupEPR"], kind)
    for w in many["CreatedWorkspace"]:
        until(w["epr"], after)
    call(group, "start", many["GroupEPR"])
    for w in many["CreatedWorkspace"]:
        until(w["epr"], "Running")
call(group, "Destroy", many["GroupEPR"])

# An ensemble, in two parts.
first = create(partOfEnsemble=True)
second = create(partOfEnsemble=True, ensembleEPR=first["EnsembleEPR"])
out["times-before"] = first["CreatedWorkspace"][0]["schedule"]["ActualInstantiationTime"] is not None
call(ensemble, "done", first["EnsembleEPR"])
for part in (first, second):
    until(part["CreatedWorkspace"][0]["epr"], "Running")
report = call(ensemble, "report", first["EnsembleEPR"], returnOnlyIfErrorPresent=False)
out["report"] = len(report if isinstance(report, list) else report["report"])
out["done-twice"] = refused(lambda: call(ensemble, "done", first["EnsembleEPR"]))

# What there is.
current = call(status, "queryCurrentWorkspaces", None)
out["current"] = len(current if isinstance(current, list) else current["oneCurrentWorkspace"])
times = call(status, "queryUsedAndReservedTime", None)
out["reserved"] = str(times["reservedTime"])
call(status, "GetResourceProperty", None, etree.QName(W + "/status", "chargeGranularity"))
call(status, "GetMultipleResourceProperties", None, [etree.QName(W + "/status", "chargeGranularity")])
query(status)

# What is refused.
out["bad-image"] = refused(lambda: create(image="nosuch.img"))

call(ensemble, "Destroy", first["EnsembleEPR"])
json.dump({"out": out, "seen": {k: sorted(set(v)) for k, v in SEEN.items()}}, sys.stdout, default=str)
