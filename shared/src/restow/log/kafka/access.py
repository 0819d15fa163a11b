"""Where the broker is, how we show who we are, and patience with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from restow.errors import TransientError

BROKER_RETRY_S = 2.0
CALL_MAX_S = 10.0  # commits, looks at the broker, goodbyes
METADATA_S = 30.0
BATCH_BYTES = 8 * 2**20

log = structlog.get_logger(__name__)
T = TypeVar("T")


class BrokerAwayError(TransientError):
    """The broker does not answer, or refuses us; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Where the broker is and how we show who we are."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = create_ssl_context(
                cafile=self.ca_file, certfile=self.cert_file, keyfile=self.key_file
            )
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def away(self, error: BaseException, *, tried_s: float | None = None) -> BrokerAwayError:
        """The error that tells a person what to look at."""
        how = self.security_protocol + (f" with {self.sasl_mechanism}" if "SASL" in self.security_protocol else "")
        tried = "" if tried_s is None else f", tried for {tried_s:g} s"
        return BrokerAwayError(
            f"RESTOW_KAFKA_BOOTSTRAP={self.bootstrap}: no broker to work with ({how}{tried}): "
            f"{type(error).__name__}: {error}"
        )


async def patiently(access: KafkaAccess, work: Callable[[], Awaitable[T]], *, timeout_s: float) -> T:
    """Try until it works. Raises BrokerAwayError after `timeout_s`."""
    began = time.monotonic()  # the broker lives in the machine's time, whatever clock Restow runs on
    while True:
        left_s = timeout_s - (time.monotonic() - began)
        try:
            return await asyncio.wait_for(work(), max(left_s, 1.0))
        except (KafkaError, OSError, TimeoutError) as error:
            if left_s <= BROKER_RETRY_S:
                raise access.away(error, tried_s=timeout_s) from error
            log.info("the broker does not answer yet", bootstrap=access.bootstrap, error=str(error))
            await asyncio.sleep(BROKER_RETRY_S)


async def quietly(stopping: Awaitable[None]) -> None:
    """A client that cannot say goodbye is gone all the same."""
    try:
        await asyncio.wait_for(stopping, CALL_MAX_S)
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("a Kafka client did not close in good order", error=repr(error))
