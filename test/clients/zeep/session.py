"""
A grid client on zeep. Reads one call per line of standard input, as JSON, and answers each with a line of JSON:

  {"service": URL of the service, "operation": NAME, "key": ["{namespace}name", "text"], "input": {...}}
  {"ok": true, "value": ...}   or   {"ok": false, "code": ..., "text": ..., "element": "{namespace}name", "descriptions": [...]}

In an input {"$qname": "{namespace}name"} is a qualified name, {"$any": ["<xml/>", ...]} the content of an xsd:any, and
{"$xml": "<xml/>"}, in place of the whole input, the element in the body: zeep has no text for types with mixed content.
Every message carries the headers of WS-Addressing 2004/03, and the key as a header block.
"""
import argparse
import datetime
import json
import sys
import uuid

import isodate
import requests
from lxml import etree
from zeep import Client, Settings, Transport
from zeep.exceptions import Fault
from zeep.helpers import serialize_object

WSA = "http://schemas.xmlsoap.org/ws/2004/03/addressing"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cert", help="certificate, or a proxy file with certificate, key and chain")
    parser.add_argument("--key", help="its private key; not needed with a proxy file")
    parser.add_argument("--ca", help="certificates of authorities that the service's certificate is checked against")
    parser.add_argument("--timeout", type=float, default=30)
    return parser.parse_args()


def transport(args):
    session = requests.Session()
    session.trust_env = False
    session.verify = args.ca or True
    if args.cert:
        session.cert = (args.cert, args.key) if args.key else args.cert
    return Transport(session=session, timeout=args.timeout, operation_timeout=args.timeout)


def value_in(value):
    if isinstance(value, list):
        return [value_in(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "$qname" in value:
        return etree.QName(value["$qname"])
    if "$any" in value:
        return {"_value_1": [etree.fromstring(x) for x in value["$any"]]}
    return {name: value_in(v) for name, v in value.items()}


def value_out(value):
    if isinstance(value, dict):
        return {name: value_out(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [value_out(v) for v in value]
    if isinstance(value, etree.QName):
        return {"$qname": value.text}
    if isinstance(value, etree._Element):
        return {"$xml": etree.tostring(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, (datetime.timedelta, isodate.Duration)):
        return isodate.duration_isoformat(value)
    return value


def headers(address, action, key):
    def header(name, text):
        element = etree.Element(etree.QName(WSA, name))
        element.text = text
        return element

    blocks = [header("MessageID", "uuid:%s" % uuid.uuid4()), header("To", address), header("Action", action)]
    if key:
        block = etree.Element(etree.QName(key[0]))
        block.text = key[1]
        blocks.append(block)
    return blocks


def raw(client, proxy, operation, blocks, xml):
    envelope = etree.Element(etree.QName(SOAP, "Envelope"), nsmap={"soapenv": SOAP})
    etree.SubElement(envelope, etree.QName(SOAP, "Header")).extend(blocks)
    etree.SubElement(envelope, etree.QName(SOAP, "Body")).append(etree.fromstring(xml))
    sent = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"%s"' % operation.soapaction}
    reply = client.transport.post_xml(proxy._binding_options["address"], envelope, sent)
    return proxy._binding.process_reply(client, operation, reply)


class Session:
    def __init__(self, args):
        self.transport = transport(args)
        self.clients = {}

    def client(self, service):
        if service not in self.clients:
            self.clients[service] = Client(service + "?wsdl", transport=self.transport, settings=Settings(strict=True))
        return self.clients[service]

    def call(self, service, operation, key=None, input=None):
        client = self.client(service)
        proxy = client.service
        found = proxy._binding._operations[operation]
        blocks = headers(proxy._binding_options["address"], found.soapaction, key)
        if isinstance(input, dict) and "$xml" in input:
            return raw(client, proxy, found, blocks, input["$xml"])
        given = value_in(input)
        if isinstance(given, dict):
            return proxy[operation](**given, _soapheaders=blocks)
        return proxy[operation](*([] if given is None else [given]), _soapheaders=blocks)


def fault(error):
    detail = error.detail if error.detail is not None else []
    said = [e.text for e in (detail.iter("{*}Description") if len(detail) else []) if e.text]
    return {
        "ok": False, "code": error.code, "text": error.message or "",
        "element": str(detail[0].tag) if len(detail) else None, "descriptions": said,
    }


def main():
    session = Session(arguments())
    for line in sys.stdin:
        try:
            answer = {"ok": True, "value": value_out(serialize_object(session.call(**json.loads(line)), dict))}
        except Fault as error:
            answer = fault(error)
        # What zeep or the connection does not like is an answer too.
        except Exception as error:
            answer = {"ok": False, "code": type(error).__name__, "text": str(error), "element": None, "descriptions": []}
        print(json.dumps(answer), flush=True)


main()
