"""What is told of a wrong request: the place in the reader's own document, the value, what is expected."""

from typing import Any

import pytest

from restow.errors import BadInputError
from restow.messages.base import parse
from restow.messages.plan import Plan
from restow.messages.request import parse_request

EVACUATE = {"goal": "evacuate", "hosts": ["a"]}


def wrong(body: Any) -> list[tuple[str, object]]:
    with pytest.raises(BadInputError) as caught:
        parse_request(body)
    return [(error.field, error.value) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"goal": "nope"}, [("goal", "nope")]),
        ({}, [("goal", "(absent)")]),
        ({"goal": "then", "goals": [EVACUATE, {"goal": "nope"}]}, [("goals.1.goal", "nope")]),
        ({"goal": "then", "goals": [{"hosts": []}]}, [("goals.0.goal", "(absent)")]),
        ({"goal": "then", "goals": [{"goal": "then", "goals": [{"goal": 7}]}]}, [("goals.0.goals.0.goal", 7)]),
        ({"goal": "then", "goals": [{"goal": "evacuate", "hosts": [1]}]}, [("goals.0.hosts.0", 1)]),
        ({"goal": "reach", "targets": {"reach": 3, "then": 4}}, [("targets.reach", 3), ("targets.then", 4)]),
        ({"goal": "evacuate", "hosts": ["a"], "then": 1}, [("then", 1)]),
        ('{"goal": "then", "goals": [{"goal": "rebalance", "goal": "reach", "targets": {"s": "h"}}]}',
         [("goals.0.goal", "(twice)")]),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_place(body: Any, told: list[tuple[str, object]]) -> None:
    assert wrong(body) == told


def test_a_plan_need_not_tell_its_domain() -> None:
    told = {"format": "restow.plan/1", "id": "p", "outcome": "plan", "request": EVACUATE, "snapshot": "sha256:0",
            "seed": 1, "engine": "another 1"}  # fmt: skip
    assert parse(Plan, told, what="plan").domain == ""
