"""The watcher of the other tests sees what is broken on a real OpenStack."""

import json

import pytest

from support.openstack_lab import HOSTS, RUNNING, until
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(300)]


def test_planted_breaks_are_seen(openstack_lab):
    lab = openstack_lab
    lab.clean()
    ids = lab.boot({"s0": HOSTS[0], "s1": HOSTS[1]})
    stranger = lab.run / "nova" / HOSTS[5] / "guests.json"
    before = stranger.read_text() if stranger.exists() else "{}"
    lab.switch(lab.services()[HOSTS[2]], {"status": "disabled"})
    try:
        with Watcher(lab) as watcher:
            until("it has looked", lambda: watcher.looks > 1)
            assert watcher.broken == []
            assert lab.act(ids["s1"], {"os-resetState": {"state": "error"}}) == 202
            stranger.write_text(json.dumps({ids["s0"]: ["s0", RUNNING]}))
            until("both are seen", lambda: {"s1 is in ERROR", twice(ids["s0"])} <= set(watcher.broken))
        assert set(watcher.broken) == {"s1 is in ERROR", twice(ids["s0"])}
    finally:
        stranger.write_text(before)
        lab.clean()


def twice(server):
    return f"{server} runs twice: {[HOSTS[0], HOSTS[5]]}"
