"""The schema's history, one file a revision under `versions/`; run by Alembic through `restow.database.schema`."""
