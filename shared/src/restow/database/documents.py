"""Snapshots and plans by the digest of their content: what an event is too small to carry."""

import gzip
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from restow.database.engine import Database, Transaction
from restow.database.tables import DocumentRow
from restow.errors import NotFoundError
from restow.ids import digest_of


@dataclass(frozen=True, slots=True)
class Packed:
    """A document ready to be kept. Packing a large one takes a while: do it away from the event loop."""

    digest: str
    body: bytes


def pack(body: bytes) -> Packed:
    """The document compressed, with the digest of its content."""
    return Packed(digest_of(body), gzip.compress(body, compresslevel=1, mtime=0))


async def put_document(transaction: Transaction, body: bytes | Packed, *, kind: str, at: datetime) -> str:
    """Keep `body` and return its digest; the same content is kept once."""
    packed = body if isinstance(body, Packed) else pack(body)
    known = select(DocumentRow.digest).where(DocumentRow.digest == packed.digest)
    if (await transaction.session.execute(known)).first() is None:
        transaction.session.add(DocumentRow(digest=packed.digest, kind=kind, body=packed.body, at=at))
        await transaction.session.flush()
    return packed.digest


async def get_document(database: Database, digest: str) -> bytes:
    """The content. Raises NotFoundError."""
    async with database.reading() as session:
        body = (
            await session.execute(select(DocumentRow.body).where(DocumentRow.digest == digest))
        ).scalar_one_or_none()
    if body is None:
        raise NotFoundError(f"no document {digest}: it was never stored here, or its time has passed")
    return gzip.decompress(body)
