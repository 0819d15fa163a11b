"""Which of these HOST:PORT take a connection; prints those that do, as a JSON list."""

import json
import socket
import sys

reached = []
for address in sys.argv[1:]:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        continue
    reached.append(address)
print(json.dumps(reached))
