"""The words of the cloud's own sources, asked for with a bound on tries and time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from restow.clock import Clock
from restow.cloud.model import Cloud
from restow.cloud.port import CloudReader, Heartbeat
from restow.errors import RestowError

TRIES = 3
RETRY_S = 1.0
ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The cloud does not answer: we do not know."""

    why: str


async def heartbeats(port: CloudReader, clock: Clock) -> Sequence[Heartbeat] | NoAnswer:
    for left in range(TRIES - 1, -1, -1):
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await port.heartbeats()
        except (RestowError, TimeoutError) as error:
            if not left:
                return NoAnswer(_told(error))
            await clock.sleep(RETRY_S)
    raise AssertionError("unreachable")


async def whole_cloud(port: CloudReader, clock: Clock) -> Cloud | NoAnswer:
    for left in range(TRIES - 1, -1, -1):
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await port.read()
        except (RestowError, TimeoutError) as error:
            if not left:
                return NoAnswer(_told(error))
            await clock.sleep(RETRY_S)
    raise AssertionError("unreachable")


def _told(error: Exception) -> str:
    return str(error) or f"no answer within {ANSWER_WITHIN_S:.0f} s"
