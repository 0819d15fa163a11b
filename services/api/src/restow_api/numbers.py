"""Numbers for the eye; pure. What is nearly full must not look full, nor the other way round."""

SHARES_MAX = 2.0  # numbers up to this are mostly shares, where the third digit can matter


def percent(share: float) -> str:
    """In whole hundredths; 100 % is said of exactly that only."""
    shown = round(100 * share)
    if shown == 100 and share != 1:
        shown = 99 if share < 1 else 101
    return f"{shown}%"


def number(value: float) -> str:
    """With two digits behind the point; with more where a share would else be taken for a whole number."""
    digits = 2
    if abs(value) < SHARES_MAX and value != round(value):
        digits = next((many for many in (2, 3, 4) if round(value, many) != round(value)), 2)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
