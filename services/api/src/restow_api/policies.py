"""The policy as the api knows it: what was put last, or the default."""

import hashlib
import json
from datetime import datetime

from sqlalchemy import select

from restow.database.engine import Database, Transaction
from restow.policy import DEFAULT_POLICY, Policy, parse_policy
from restow_api.store import PolicyViewRow


async def policy_in_force(database: Database) -> Policy:
    """The newest that was put; the default if none ever was."""
    async with database.reading() as session:
        newest = select(PolicyViewRow.document).order_by(PolicyViewRow.seq.desc()).limit(1)
        document = (await session.execute(newest)).scalar_one_or_none()
    return DEFAULT_POLICY if document is None else parse_policy(document)


async def keep_policy(transaction: Transaction, *, event: str, document: str, by: str, at: datetime) -> None:
    known = select(PolicyViewRow.seq).where(PolicyViewRow.event == event)
    if (await transaction.session.execute(known)).first() is None:
        transaction.session.add(PolicyViewRow(event=event, document=document, put_by=by, put_at=at))
        await transaction.session.flush()


def version_of(policy: Policy) -> str:
    """An entity tag: the same for the same policy, however it was written."""
    text = json.dumps(policy.dump(), sort_keys=True, separators=(",", ":"))
    return '"' + hashlib.sha256(text.encode()).hexdigest()[:32] + '"'
