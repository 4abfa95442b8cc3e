"""Loads the WSDL of each URL given and prints, as JSON, the operations that zeep finds in it, with what goes in and out."""
import json
import sys

from zeep import Client


def operations(url):
    client = Client(url)
    found = {}
    for service in client.wsdl.services.values():
        for port in service.ports.values():
            for operation in port.binding._operations.values():
                found[operation.name] = {
                    "address": port.binding_options["address"],
                    "action": operation.soapaction,
                    "input": operation.input.signature(),
                    "output": operation.output.signature() if operation.output else None,
                    "faults": sorted(operation.faults),
                }
    return found


print(json.dumps({url: operations(url) for url in sys.argv[1:]}))
