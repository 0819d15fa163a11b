"""forward.py HOST:PORT PID ADDRESS:PORT: listens here, connects inside the network namespace of process PID."""

import asyncio
import contextlib
import ctypes
import os
import queue
import socket
import sys
import threading

NEW_NETWORK = 0x40000000
here, process, there = sys.argv[1:]
made: queue.Queue[socket.socket] = queue.Queue(64)


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def make_sockets() -> None:
    """In a thread of its own: a socket belongs to the namespace of the thread that makes it."""
    namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(namespace, NEW_NETWORK):
        os._exit(1)
    while True:
        one = socket.socket()
        one.setblocking(False)
        made.put(one)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.close()


async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        other = made.get()
        await asyncio.get_running_loop().sock_connect(other, address(there))
        inner, outer = await asyncio.open_connection(sock=other)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, outer), pump(inner, writer))
    writer.close()
    outer.close()


async def main() -> None:
    async with await asyncio.start_server(joined, *address(here)) as server:
        await server.serve_forever()


threading.Thread(target=make_sockets, daemon=True).start()
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
