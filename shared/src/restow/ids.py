"""Ids: types that keep them apart, and ids that derive from their cause so that twice is once; pure."""

import hashlib
from typing import NewType
from uuid import UUID, uuid5

HostName = NewType("HostName", str)
ServerId = NewType("ServerId", str)
DomainName = NewType("DomainName", str)

_NAMESPACE = UUID("5d0a7e1c-5b0e-5d7e-9a3f-7c1f2e4b6a90")


def digest_of(body: bytes) -> str:
    """The name of a document: "sha256:" and 64 hex digits."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def id_of_effect(cause: str, effect: str) -> str:
    """The id of an effect: a uuid5 of its cause's id and its own name, the same at every delivery."""
    return str(uuid5(_NAMESPACE, f"{cause}/{effect}"))
