"""Virtual time: it jumps to the next timer, and a standstill is an error, not a hang."""

import asyncio

import pytest

from restow.simulation.virtual_loop import NothingLeftError, run_virtual


def test_a_day_of_sleeping_takes_the_loop_to_the_next_day() -> None:
    async def sleep() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert run_virtual(sleep()) == pytest.approx(86_400)


def test_waiting_for_what_never_comes_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeftError):
        run_virtual(wait())
