"""The cluster of these tests, and Restow installed on it beside a Kafka and a PostgreSQL."""

from collections.abc import Iterator

import pytest

from support.installed import Installed, prepare
from support.kubernetes import Cluster, a_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from a_cluster(tmp_path_factory.mktemp("kubernetes") / "cluster")


@pytest.fixture(scope="session")
def installed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Mode services on a Kafka with SASL over TLS and a PostgreSQL with TLS."""
    made = prepare(cluster, tmp_path_factory.mktemp("secrets"))
    made.install()
    return made
