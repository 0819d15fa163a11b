import pytest

from restow_api.numbers import number, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.494, "49%"), (0.994, "99%"), (0.996, "99%"), (1.0, "100%"), (1.004, "101%"), (1.5, "150%")],
)
def test_what_is_nearly_full_does_not_look_full(share: float, text: str):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.996, "0.996"), (0.9996, "0.9996"), (1.0, "1"), (0.5, "0.5"), (0.0, "0"), (1.004, "1.004"), (95.003, "95"),
     (1234.5, "1,234.5"), (100.0, "100"), (0.25, "0.25"), (-0.996, "-0.996"), (0.001, "0.001"), (200.0, "200")],
)  # fmt: skip
def test_a_share_is_not_rounded_to_a_whole_number(value: float, text: str):
    assert number(value) == text
