"""A policy is stored without its defaults: a version that lacks a newer field reads it all the same."""

import pytest

from restow.policy import DEFAULT_POLICY, Policy, parse_policy

CHANGED = parse_policy(
    {
        "format": "restow.policy/1",
        "blast_radius": {"hosts": 5},
        "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
    }
)


@pytest.mark.parametrize("policy", [Policy(), DEFAULT_POLICY, CHANGED], ids=["empty", "default", "changed"])
def test_what_is_written_is_read_again_as_the_same(policy: Policy) -> None:
    assert parse_policy(policy.written()) == policy


def test_fields_that_nobody_uses_are_not_written() -> None:
    assert CHANGED.written() == {
        "format": "restow.policy/1",
        "blast_radius": {"hosts": 5},
        "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
    }
