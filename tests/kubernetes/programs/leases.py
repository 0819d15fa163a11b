"""Who holds which lease now: {name: holder}, as JSON."""

import asyncio
import json
import os
from datetime import UTC, datetime

from sqlalchemy import select

from restow.database.engine import Database
from restow.database.tables import LeaseRow


async def main() -> None:
    database = Database(os.environ["RESTOW_DATABASE_URL"])
    async with database.reading() as session:
        rows = (await session.execute(select(LeaseRow).where(LeaseRow.expires_at > datetime.now(UTC)))).scalars()
        print(json.dumps({row.name: row.holder for row in rows}))
    await database.close()


asyncio.run(main())
