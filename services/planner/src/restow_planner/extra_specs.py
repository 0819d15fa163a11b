"""The language of Nova's extra specs: does a value of an aggregate's metadata meet what a flavor wants? pure."""

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import Any

NUMBERS: dict[str, Callable[[Any, Any], bool]] = {"=": ge, ">=": ge, "<=": le, "==": eq, "!=": ne}
TEXTS: dict[str, Callable[[Any, Any], bool]] = {"s==": eq, "s!=": ne, "s<": lt, "s<=": le, "s>": gt, "s>=": ge}


def matches(value: str, wanted: str) -> bool:
    """`wanted` is the value itself, or an operator and its operands: `>= 4`, `<or> a <or> b`, `<in> ssd`.

    An operator without an operand, and a number that is none, are met by nothing. `=` means at least, as in Nova.
    """
    operator, *operands = wanted.split() or [""]
    if operator == "<or>":
        return value in operands[::2]
    if operator in ("<in>", "<all-in>"):
        parts = operands[:1] if operator == "<in>" else operands
        return bool(parts) and all(part in value for part in parts)
    if operator in TEXTS:
        return bool(operands) and TEXTS[operator](value, operands[0])
    if operator in NUMBERS:
        try:
            return bool(operands) and NUMBERS[operator](float(value), float(operands[0]))
        except ValueError:
            return False
    return value == wanted
