"""Snapshots and plans by the digest of their content: what an event is too small to carry."""

import gzip
import hashlib
from datetime import datetime

from sqlalchemy import select

from restow.database.engine import Database, Transaction
from restow.database.tables import DocumentRow
from restow.errors import NotFoundError


def digest_of(body: bytes) -> str:
    """The name of a document: "sha256:" and 64 hex digits."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


async def put_document(transaction: Transaction, body: bytes, *, kind: str, at: datetime) -> str:
    """Keep `body` and return its digest; the same content is kept once."""
    digest = digest_of(body)
    if await transaction.session.get(DocumentRow, digest) is None:
        packed = gzip.compress(body, compresslevel=3, mtime=0)
        transaction.session.add(DocumentRow(digest=digest, kind=kind, body=packed, at=at))
        await transaction.session.flush()
    return digest


async def get_document(database: Database, digest: str) -> bytes:
    """The content. Raises NotFoundError."""
    async with database.reading() as session:
        body = (
            await session.execute(select(DocumentRow.body).where(DocumentRow.digest == digest))
        ).scalar_one_or_none()
    if body is None:
        raise NotFoundError(f"no document {digest}: it was never stored here, or its time has passed")
    return gzip.decompress(body)
