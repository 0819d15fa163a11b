"""Fixtures for every test; those for real parts start nothing until a test asks for them."""

import os
import time

import pytest

from support.openstack_lab import openstack_lab
from support.real import postgres_url, real_kafka, real_postgres

__all__ = ["openstack_lab", "postgres_url", "real_kafka", "real_postgres"]

LEFT_OUT = "left out: no time is left; `make test-real` runs it"
# Where time is short these go last: long, or about what the tests before them use as well.
LAST = ("test_wrong_clouds_yaml.py", "test_doctor.py", "test_executor_killed.py")
BEGAN = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick ones first: OpenStack takes minutes to start."""
    ranks = {name: rank for rank, name in enumerate(LAST, 1)}
    items.sort(key=lambda one: (one.get_closest_marker("openstack") is not None, ranks.get(one.path.name, 0)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """RESTOW_TEST_SECONDS: after so many no test on real parts begins; none is cut short."""
    seconds = os.environ.get("RESTOW_TEST_SECONDS")
    if seconds and item.get_closest_marker("real") and time.monotonic() - BEGAN > float(seconds):
        pytest.skip(LEFT_OUT)
