"""One HTTP request: METHOD URL KEY BODY HEADERS (JSON); prints the answer as JSON."""

import json
import sys
import urllib.request
from urllib.error import HTTPError

method, url, key, body, headers = sys.argv[1:]
given = json.loads(body)
request = urllib.request.Request(
    url,
    method=method,
    data=None if given is None else json.dumps(given).encode(),
    headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json", **json.loads(headers)},
)
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        status, text = answer.status, answer.read().decode()
except HTTPError as error:
    status, text = error.code, error.read().decode()
print(json.dumps({"status": status, "body": json.loads(text) if text else None}))
