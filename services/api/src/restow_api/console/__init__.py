"""The web console: pages made on the server, which work without JavaScript."""

from restow_api.console.routes import router

__all__ = ["router"]
