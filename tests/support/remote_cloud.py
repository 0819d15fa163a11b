"""A simulated cloud served over real loopback HTTP, for tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from restow.cloud.simulated import SimulatedClouds
from restow.cloud.simulated.remote import RemoteClouds
from restow.cloud.simulated.server import server_of


@asynccontextmanager
async def served(clouds: SimulatedClouds, *, answer_timeout_s: float = 10.0) -> AsyncIterator[RemoteClouds]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = server_of(clouds, host="127.0.0.1", port=port)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    remote = RemoteClouds(f"http://127.0.0.1:{port}", answer_timeout_s=answer_timeout_s)
    try:
        await asyncio.to_thread(remote.domains)
        yield remote
    finally:
        await remote.close()
        server.should_exit = True
        await serving
        listening.close()
