"""Where the broker is, how we show who we are, what is ours there, and patience with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context

from restow.errors import PermanentError, TransientError
from restow.messages.events import Topic

BROKER_RETRY_S = 2.0
CALL_MAX_S = 10.0  # looks at the broker, goodbyes
METADATA_S = 30.0
BATCH_BYTES = 8 * 2**20
ASK_WHY_MAX_S = 5.0
REFUSALS = (
    AuthenticationFailedError, ClusterAuthorizationFailedError, GroupAuthorizationFailedError, IllegalSaslStateError,
    SaslAuthenticationFailed, TopicAuthorizationFailedError, UnsupportedSaslMechanismError,
)  # fmt: skip

log = structlog.get_logger(__name__)
T = TypeVar("T")


class BrokerAwayError(TransientError):
    """The broker does not answer; the text says what was tried."""


class BrokerRefusesError(PermanentError):
    """The broker answers, and refuses who we are or what we may; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Where the broker is and how we show who we are; what our topics and groups are called there begins so."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    topic_prefix: str = ""
    group_prefix: str = ""

    def topic(self, topic: Topic) -> str:
        return self.topic_prefix + topic.value

    def group(self, name: str) -> str:
        return self.group_prefix + name

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

    async def failure(
        self, error: BaseException, *, tried_s: float | None = None
    ) -> BrokerAwayError | BrokerRefusesError:
        """The error that tells a person what to look at."""
        if isinstance(error, KafkaConnectionError):
            error = await self.why_no_connection() or error
        how = self.security_protocol + (f" with {self.sasl_mechanism}" if "SASL" in self.security_protocol else "")
        tried = "" if tried_s is None else f", tried for {tried_s:g} s"
        kind = BrokerRefusesError if isinstance(error, REFUSALS) else BrokerAwayError
        return kind(
            f"RESTOW_KAFKA_BOOTSTRAP={self.bootstrap}: no broker to work with ({how}{tried}): "
            f"{type(error).__name__}: {error}"
        )

    async def why_no_connection(self) -> BaseException | None:
        """None: there is one. The library keeps to itself what went wrong: for it a refused password is an absence."""
        options = self.options()
        found: BaseException | None = None
        for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
            try:
                async with asyncio.timeout(ASK_WHY_MAX_S):
                    (await create_conn(host, port, **options)).close()
                    return None
            except REFUSALS as error:
                refusal: BaseException = error
                return refusal
            except (KafkaError, OSError, TimeoutError) as error:
                found = error
        return found


async def at_once() -> None:
    """Nothing has to be there first."""


async def attempt(access: KafkaAccess, work: Callable[[], Awaitable[T]], *, limit_s: float) -> T:
    """Raises BrokerAwayError, BrokerRefusesError."""
    try:
        return await asyncio.wait_for(work(), limit_s)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await access.failure(error) from error


async def patiently(access: KafkaAccess, work: Callable[[], Awaitable[T]], *, timeout_s: float) -> T:
    """Try until it works. Raises BrokerAwayError, BrokerRefusesError after `timeout_s`."""
    began = time.monotonic()  # the broker lives in the machine's time, whatever clock Restow runs on
    while True:
        left_s = timeout_s - (time.monotonic() - began)
        try:
            return await asyncio.wait_for(work(), max(left_s, 1.0))
        except (KafkaError, OSError, TimeoutError) as error:
            if left_s <= BROKER_RETRY_S:
                raise await access.failure(error, tried_s=timeout_s) from error
            log.info("the broker does not answer yet", bootstrap=access.bootstrap, error=str(error))
            await asyncio.sleep(BROKER_RETRY_S)


async def quietly(stopping: Awaitable[None], *, limit_s: float = CALL_MAX_S) -> None:
    """A client that cannot say goodbye is gone all the same.

    In a task of its own: the library cancels what it waits for, and that would look as if we had been cancelled.
    """
    farewell = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({farewell}, timeout=limit_s)
    finally:
        farewell.cancel()
    error = "it takes too long" if not farewell.done() or farewell.cancelled() else farewell.exception()
    if error is not None:
        log.info("a Kafka client did not close in good order", error=repr(error))
