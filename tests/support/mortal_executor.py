"""An executor in a process of its own, on a real cloud, that kills itself at one moment of one step.

    python mortal_executor.py before|after STEP started|ended    at the write that tells of it
    python mortal_executor.py after METHOD asked                 when the cloud has taken this call
    python mortal_executor.py                                    never

SIGKILL, as a machine that loses power: nothing is flushed, released or told. Everything else is the product's own
process; only its database and its cloud are wrapped, from outside.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from restow.clock import SystemClock
from restow.cloud.connect import connect
from restow.cloud.port import Clouds
from restow.database.engine import Database, Transaction
from restow.ids import DomainName
from restow.runtime.logs import set_up_logs
from restow.runtime.run import Process
from restow.runtime.settings import read_settings
from support.executing import told_of_step


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalDatabase(Database):
    def __init__(self, url: str, *, when: str, step: str, change: str) -> None:
        super().__init__(url)
        self.when, self.moment = when, (step, change)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        async with super().writing() as transaction:
            yield transaction
            hit = self.moment in {told_of_step(event) for event in transaction.events}
            if hit and self.when == "before":
                die()
        if hit:
            die()


@dataclass
class MortalClouds:
    """Dies as soon as the cloud has taken a call of `method`, before anybody can note it."""

    clouds: Clouds
    method: str

    def domains(self) -> tuple[DomainName, ...]:
        return self.clouds.domains()

    def port(self, domain: DomainName) -> Any:
        return _MortalPort(self.clouds.port(domain), self.method)

    async def close(self) -> None:
        await self.clouds.close()


@dataclass
class _MortalPort:
    port: Any
    method: str

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.port, name)
        if name != self.method:
            return real

        async def ask(*words: Any, **named: Any) -> None:
            await real(*words, **named)
            die()

        return ask


async def run(when: str, what: str, change: str) -> None:
    settings = read_settings(os.environ)
    clock = SystemClock()
    asked = change == "asked"
    clouds = MortalClouds(connect(settings.cloud, clock=clock), what if asked else "")
    moment = ("", "never", "") if asked else (when, what, change)
    database = MortalDatabase(settings.database(), when=moment[0], step=moment[1], change=moment[2])
    await Process(settings, clock, database, clouds, os.environ, names=("executor",)).run()


if __name__ == "__main__":
    set_up_logs(level="info", form="json")
    asyncio.run(run(*(sys.argv[1:] or ("", "never", ""))))
