"""Events as CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_` headers, data in the value; pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from restow.errors import PermanentError
from restow.messages.events import Event

Headers = list[tuple[str, bytes]]
_EXTENSIONS = ("correlationid", "causationid", "domain", "traceparent")


def cloud_event(event: Event) -> CloudEvent:
    """The event with its attributes and our extensions, data as JSON object."""
    extensions = (event.correlation, event.causation, event.domain, event.traceparent)
    attributes: dict[str, Any] = {
        "specversion": "1.0", "id": event.id, "source": event.source, "type": event.type, "time": event.time,
        "datacontenttype": "application/json",
        **({"subject": event.subject} if event.subject else {}),
        **{name: value for name, value in zip(_EXTENSIONS, extensions, strict=True) if value is not None},
    }  # fmt: skip
    return CloudEvent(attributes, dict(event.data))


def to_kafka(event: Event) -> tuple[bytes, bytes, Headers]:
    """Key (the domain), value and headers."""
    message = to_binary(cloud_event(event), JSONFormat(), key_mapper=lambda _: event.domain)
    return event.domain.encode(), message.value, list(message.headers.items())


def from_kafka(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Event:
    """Raises PermanentError for what is no CloudEvent of ours."""
    try:
        if "ce_time" not in dict(headers):  # the library would put the time of reading in its place
            raise PermanentError("not a CloudEvent in binary mode: the header ce_time is missing")
        message = KafkaMessage(headers=dict(headers), key=key, value=value or b"")
        read = from_binary(message, JSONFormat())
        data = read.get_data()
        if isinstance(data, bytes | str):
            data = json.loads(data)
        if not isinstance(data, dict):
            raise PermanentError(f"the data is {type(data).__name__}, expected a JSON object")
        time = read.get_time()
        assert isinstance(time, datetime)
        return Event(
            id=read.get_id(), type=read.get_type(), source=read.get_source(),
            domain=read.get_extension("domain") or (key or b"").decode(), subject=read.get_subject() or "",
            time=time if time.tzinfo else time.replace(tzinfo=UTC), data=data,
            correlation=read.get_extension("correlationid") or read.get_id(),
            causation=read.get_extension("causationid"), traceparent=read.get_extension("traceparent"),
        )  # fmt: skip
    except (BaseCloudEventException, ExceptionGroup, ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"not a CloudEvent in binary mode: {type(error).__name__}: {error}") from error
