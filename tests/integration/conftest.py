"""What the tests on the stand-in for OpenStack's APIs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restow.clock import SystemClock
from restow.cloud.openstack.clouds import OpenStackClouds
from restow.cloud.openstack.settings import OpenStackSettings
from support.openstack_stand_in import StandIn, write_clouds


@pytest.fixture
def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OpenStackClouds]:
    """The clouds of a stand-in, by a clouds.yaml of its own; more of that file by name. Who asks closes them."""

    def connect(cloud: StandIn, settings: OpenStackSettings | None = None, **more: Any) -> OpenStackClouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds(tmp_path, cloud.address, **more)))
        return OpenStackClouds.of("stand-in", clock=SystemClock(), settings=settings or OpenStackSettings())

    return connect
