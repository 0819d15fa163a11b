"""Alembic's entry: runs on the connection that `restow.database.schema` hands over, within its lock."""

from typing import Any, Literal

from alembic import context

from restow.database.tables import Row, UtcDateTime


def rendered(kind: str, item: Any, _autogenerate: object) -> str | Literal[False]:
    """Name our own column type by what it is in the database: a revision depends on no code of ours."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    compare_type=True,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=rendered,
    transaction_per_migration=False,
)
context.run_migrations()
