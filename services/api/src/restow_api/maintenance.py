"""Which hosts people have taken out of healing: what the log says last of each.

The command itself is read, not what the detector makes of it: whoever has just asked for it finds it so.
"""

import json

from sqlalchemy import func, select

from restow.database.engine import Database
from restow.database.tables import EventRow
from restow.ids import DomainName
from restow.messages.events import Topic

COMMAND = "restow.command.host.maintenance"


async def hosts_in_maintenance(database: Database, domain: DomainName) -> frozenset[str]:
    """By name. Raises DatabaseAwayError."""
    newest = (
        select(func.max(EventRow.seq))
        .where(EventRow.topic == Topic.COMMANDS.value, EventRow.type == COMMAND, EventRow.domain == domain)
        .group_by(EventRow.subject)
    )
    async with database.reading() as session:
        told = (await session.execute(select(EventRow.data).where(EventRow.seq.in_(newest)))).scalars()
        orders = [json.loads(data) for data in told]
    return frozenset(str(order["host"]) for order in orders if order["on"])
