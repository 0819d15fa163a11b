"""`restow plans|incidents|hosts|servers|events|policies|keys|snapshot|fault …`: the front door from a terminal."""

import typer

from restow_api.commands import cloud, events, incidents, keys, plans, policies


def register(app: typer.Typer) -> None:
    """Add the front door's commands to `restow`."""
    for module in (plans, incidents, cloud, events, policies, keys):
        module.register(app)
