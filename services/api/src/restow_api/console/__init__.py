"""The web console: pages made on the server, which work without JavaScript."""

from restow_api.console.routes import problem_page, router

__all__ = ["problem_page", "router"]
