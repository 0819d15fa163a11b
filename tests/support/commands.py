"""The tree of `restow` commands, to hold documents and deployments to it."""

from collections.abc import Sequence
from typing import Any

import typer.main

from restow.commands.main import application


def command_line(words: Sequence[str], *, where: str) -> None:
    """Asserts that these words after `restow` begin with a command there is, and that their options exist."""
    node: Any = typer.main.get_command(application())
    left = list(words)
    while left and getattr(node, "commands", None):
        assert left[0] in node.commands, f"{where}: no command {left[0]!r} in {sorted(node.commands)}"
        node = node.commands[left.pop(0)]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in left:
        if word.startswith("-") and len(word) > 1:
            assert word.split("=")[0] in known, f"{where}: no option {word!r} in {sorted(known)}"
