"""What the planner says of random small clouds is true, judged by looking at every order of moves.

RESTOW_TRUTH sets how many clouds; the long run is `python tests/bench/truth.py`.
"""

import os
from collections import Counter

import pytest

from bench.truth import a_cloud_to_judge, verdicts
from restow_planner.rules import all_violations

CLOUDS = int(os.environ.get("RESTOW_TRUTH", "60"))


@pytest.mark.timeout(3600)
def test_no_answer_about_a_small_cloud_is_untrue() -> None:
    outcomes: Counter[str] = Counter()
    for told in verdicts(range(CLOUDS)):
        assert not told.wrong, f"seed {told.seed}, {told.goal}: {told.outcome}: {told.wrong}"
        outcomes[told.outcome] += told.known
    assert min(outcomes["impossible"], outcomes["plan"], outcomes["nothing-to-do"]) > CLOUDS // 2


def test_many_of_the_clouds_break_rules_before_any_plan() -> None:
    kinds: Counter[str] = Counter()
    for cloud in map(a_cloud_to_judge, range(300)):
        home = {one.id: () if one.host is None else (one.host,) for one in cloud.servers}
        kinds.update({one.rule.split(" ", maxsplit=1)[0] for one in all_violations(cloud, home)})
    assert min(kinds[kind] for kind in ("capacity", "spread", "at-most", "together", "among", "licence", "near")) > 5
