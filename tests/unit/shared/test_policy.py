"""The policy document: what is left out, what stands twice, and what is told of it."""

import json

import pytest

from restow.errors import BadInputError
from restow.policy import DEFAULT_POLICY, Policy, parse_policy


def wrong(text: object) -> tuple[str, object, str]:
    with pytest.raises(BadInputError) as caught:
        parse_policy(text)
    (error,) = caught.value.errors
    return error.field, error.value, error.expected


@pytest.mark.parametrize(
    "text",
    [
        "format: restow.policy/1",
        "format: restow.policy/1\nthresholds: {hot: 0.9}",
        {"format": "restow.policy/1", "blast_radius": {"hosts": 5}},  # as a version before this one has stored it
    ],
)
def test_a_policy_that_says_nothing_of_rules_heals_as_the_built_in_one_does(text: object) -> None:
    assert parse_policy(text).rules == DEFAULT_POLICY.rules
    assert any(rule.incident == "failed-host" and rule.mode == "auto" for rule in DEFAULT_POLICY.rules)


def test_an_empty_list_of_rules_switches_off_survives_its_storing_and_is_warned_of() -> None:
    policy = parse_policy("format: restow.policy/1\nrules: []")
    assert policy.rules == ()
    assert policy.written() == {"format": "restow.policy/1", "rules": []}
    assert parse_policy(policy.written()) == policy
    assert "no incident is healed" in policy.warnings()[0]


def test_what_is_stored_names_its_rules_so_that_the_version_before_reads_the_same() -> None:
    assert [rule["incident"] for rule in DEFAULT_POLICY.written()["rules"]] == [
        rule.incident for rule in DEFAULT_POLICY.rules
    ]


def test_a_policy_that_leaves_failed_hosts_alone_is_warned_of_and_a_usual_one_is_not() -> None:
    observing = {"format": "restow.policy/1", "rules": [{"incident": "hot-host", "goal": "rebalance"}]}
    assert "failed-host" in parse_policy(observing).warnings()[0]
    assert Policy().warnings() == ()


@pytest.mark.parametrize("text", ["{}", "thresholds: {hot: 0.9}", {}, {"rules": []}])
def test_a_document_without_its_format_is_no_policy(text: object) -> None:
    assert wrong(text) == ("format", "(absent)", "restow.policy/1")


def test_wrong_options_of_a_rule_are_named_where_they_stand() -> None:
    rules = [{"incident": "imbalance", "goal": "rebalance", "options": {"threshold": 7}}]
    assert wrong({"format": "restow.policy/1", "rules": rules}) == (
        "rules.0.options.threshold", 7, "less than or equal to 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where", "key"),
    [
        ("format: restow.policy/1\nrules: []\nrules: []\n", "line 3, column 1", "rules"),
        ("format: restow.policy/1\nthresholds:\n  hot: 0.9\n  hot: 0.8\n", "line 4, column 3", "hot"),
        (json.dumps({"format": "restow.policy/1"})[:-1] + ', "format": "x"}', "line 1, column 31", "format"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_line(text: str, where: str, key: str) -> None:
    field, value, expected = wrong(text)
    assert (field, expected) == (where, "each key once")
    assert f"key {key} " in str(value)


def test_a_key_that_is_merged_in_may_be_overridden() -> None:
    text = "format: restow.policy/1\nthresholds: &t {hot: 0.9}\nexecution: {<<: {replans_max: 3}, replans_max: 4}\n"
    assert parse_policy(text).execution.replans_max == 4
