"""Structured logs, one line an event: JSON for machines or words for a terminal. Only a `main` calls this."""

import logging
import sys
from typing import Any, Literal

import structlog

QUIET = {"aiokafka": logging.CRITICAL, "uvicorn": logging.WARNING, "keystoneauth": logging.WARNING,
         "alembic": logging.WARNING, "aiosqlite": logging.WARNING, "openstack": logging.WARNING}  # fmt: skip


def set_up_logs(*, level: str = "info", form: Literal["json", "console"] = "json") -> None:
    """Everything goes to standard error: our events and, from warnings on, what libraries say."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "json":
        ends: list[Any] = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        ends = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("restow").setLevel(level.upper())
    for service in ("api", "detector", "executor", "planner"):
        logging.getLogger(f"restow_{service}").setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)
