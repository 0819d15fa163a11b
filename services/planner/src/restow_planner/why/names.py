"""How steps and servers are called in an answer: by name and id where both are known; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow.messages.plan import Step


@dataclass(frozen=True, slots=True)
class Names:
    """How servers are called: by name and id where a snapshot tells both."""

    cloud: Cloud | None = None

    def server(self, id: str) -> str:
        known = None if self.cloud is None else self.cloud.server_by_id.get(ServerId(id))
        return id if known is None or known.name in ("", id) else f"{known.name} ({id})"

    def servers_in(self, text: str, ids: Iterable[str | None]) -> str:
        """The text with these servers called by name as well."""
        called = {one: self.server(one) for one in ids if one is not None}
        if all(one == label for one, label in called.items()):
            return text
        either = "|".join(re.escape(one) for one in called)
        return re.sub(rf"(?<![\w.-])(?:{either})(?![\w.-])", lambda found: called[found[0]], text)


def what(step: Step, names: Names) -> str:
    """What the step acts on, and the way it takes it."""
    if step.server is None:
        return str(step.host)
    return f"{names.server(step.server)} {step.source or 'nowhere'} → {step.target or 'nowhere'}"


def mentions(text: str, word: str) -> bool:
    """Whether the word stands in the text by itself, not as a part of a longer name."""
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None
