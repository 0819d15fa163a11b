"""What the planner says of random small clouds is true, judged by looking at every order of moves.

RESTOW_TRUTH sets how many clouds; the long run is `python tests/bench/truth.py`.
"""

import os
from collections import Counter

import pytest

from bench.truth import verdicts

CLOUDS = int(os.environ.get("RESTOW_TRUTH", "60"))


@pytest.mark.timeout(3600)
def test_no_answer_about_a_small_cloud_is_untrue() -> None:
    outcomes: Counter[str] = Counter()
    for told in verdicts(range(CLOUDS)):
        assert not told.wrong, f"seed {told.seed}, {told.goal}: {told.outcome}: {told.wrong}"
        outcomes[told.outcome] += told.known
    assert min(outcomes["impossible"], outcomes["plan"], outcomes["nothing-to-do"]) > CLOUDS // 2
