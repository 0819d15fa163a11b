"""What Nova asks of Neutron for servers without networks: empty lists. Nova has no switch for "no Neutron"."""

import json


def application(environ, start_response):
    parts = environ["PATH_INFO"].strip("/").split("/")
    status, body = "404 Not Found", {"NeutronError": {"type": "NotFound", "message": "a stub", "detail": ""}}
    if environ["REQUEST_METHOD"] == "GET":
        match parts:
            case [""]:
                here = f"http://{environ['HTTP_HOST']}/v2.0/"
                version = {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": here}]}
                status, body = "200 OK", {"versions": [version]}
            case ["v2.0"]:
                status, body = "200 OK", {"resources": []}
            case [_, collection]:
                status, body = "200 OK", {collection.removesuffix(".json").replace("-", "_"): []}
    data = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
