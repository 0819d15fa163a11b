"""Whole reads of the cloud, shared by all steps of a session."""

import asyncio
from dataclasses import dataclass

from restow.cloud.model import Cloud
from restow.cloud.port import CloudPort


@dataclass(slots=True)
class SharedReads:
    """Whole reads of the cloud, shared: each caller gets one that began after it asked."""

    port: CloudPort
    running: asyncio.Task[Cloud] | None = None
    queued: asyncio.Task[Cloud] | None = None

    async def read(self) -> Cloud:
        if self.queued is None:
            self.queued = asyncio.get_running_loop().create_task(self._after(self.running))
            self.queued.add_done_callback(_retrieved)
        return await asyncio.shield(self.queued)

    async def _after(self, before: asyncio.Task[Cloud] | None) -> Cloud:
        if before is not None and not before.done():
            await asyncio.wait({before})
        self.running, self.queued = self.queued, None  # whoever asks from here on waits for the next one
        return await self.port.read()

    def drop(self) -> None:
        for task in (self.running, self.queued):
            if task is not None:
                task.cancel()


def _retrieved(task: asyncio.Task[Cloud]) -> None:
    """Its waiters may be gone: an error that nobody awaits is not worth a complaint."""
    if not task.cancelled():
        task.exception()
