"""The arrays between rules and compiled loops: what stands firm, what a move changes, what is remembered; pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from restow_planner.problem import Bools, Floats, Ints

NONE = -1.0
"""In place of a price: there is no such rule."""
HARD = np.inf
"""The price of a rule that may not be broken."""
Dice = NDArray[np.uint64]
"""(1,) the state of a generator."""


class Ground(NamedTuple):
    """What does not change. S servers, H hosts, R resources, K prices of load, T tables of counts, N nears, G sets."""

    demand: Ints  # (S, R)
    capacity: Ints  # (H, R)
    floor: Ints  # (H, R) 0, or less where the start is overfull: room below it is an overrun
    held: Bools  # (R,) a server that left still holds its share where it started
    start: Ints  # (S,)
    movable: Ints  # (M,)
    row: Ints  # (S,) of `allowed`
    allowed: Bools  # (C, H)
    amount: Floats  # (S, K)
    over: Floats  # (H, K)
    price: Floats  # (H, K)
    stand_row: Ints  # (S,) of `stand`, -1: none
    stand: Floats  # (P, H)
    leave: Floats  # (S,) price of not being at its start
    between: Floats  # (H, H) price by start and present host, or (0, 0)
    set_of: Ints  # (S,), -1: none
    set_price: float  # per move in the set with the most
    moves_max: int
    unit: Ints  # (U, H)
    tables: Ints  # (S + 1,) where each server's part of `table` begins
    table: Ints
    by: Ints  # (T,) row of `unit`
    first: Ints  # (T,) where each table begins in `count` and `most`
    units: Ints  # (T,)
    most: Ints  # flat: members that a unit may have
    most_price: Floats  # (T,) inf: hard
    least: Ints  # (T,) units in which the members stand at least
    least_price: Floats  # (T,)
    apart_price: Floats  # (T,) per member outside the unit that has most
    nears: Ints  # (T + 1,) where each table's part of `near` begins
    near: Ints
    members: Ints  # (T + 1,) where each table's part of `member` begins
    member: Ints
    free: Bools  # (S,) may move
    soft: Bools  # (S,) a soft rule counts it
    near_to: Ints  # (N, 2) table of those that want company, table of those that are it
    near_price: Floats  # (N,)
    near_first: Ints  # (N,) into `excused`
    excused: Bools  # flat: units where it was broken at the start


class Standing(NamedTuple):
    """What a move changes."""

    at: Ints  # (S,)
    room: Ints  # (H, R)
    excess: Floats  # (H, K) load over what is free of charge
    counts: Ints  # flat: members of each table in each unit
    distinct: Ints  # (T,) units with members
    largest: Ints  # (T,) members in the fullest unit
    set_moves: Ints  # (G,)
    sets_with: Ints  # number of sets with so many moves
    whole: Ints  # moves, most moves in a set, broken hard rules
    over: Ints  # (R,) units of overrun on all hosts
    cost: Floats  # (1,)


class Best(NamedTuple):
    """The best placement met, and the servers that changed since: it is brought up to date only when it is left."""

    at: Ints  # (S,)
    cost: Floats  # (1,)
    changed: Ints  # (S,)
    known: Bools  # (S,)


class Patience(NamedTuple):
    """How broken rules are suffered: of each resource and, last, of all other rules (R + 1,)."""

    loose: Bools  # (1,)
    push: Floats  # price of a unit too many, of a broken rule
    least: Floats  # of that price
    aim: Floats  # how many there may be before the price rises
    rate: Floats  # (2,) by what it rises and falls, in a level
    over: Ints  # (R,) room for the kernel
    left: Ints  # (1,) room for the kernel
