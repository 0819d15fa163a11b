"""The metrics of `restow.metrics` under the name by which services know them."""

from restow.metrics import DEAD_LETTERS, HANDLED, HANDLER_SECONDS, LAG, RETRIES, TEXT, exposition

__all__ = ["DEAD_LETTERS", "HANDLED", "HANDLER_SECONDS", "LAG", "RETRIES", "TEXT", "exposition"]
