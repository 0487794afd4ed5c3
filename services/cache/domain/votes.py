"""How far the questions nearby agree on an answer.

Each of the nearest votes for its own answer, the more strongly the nearer it is; those whose answers were found the
same, their family, vote together. One more vote, of a question that is not there, is for an answer that nobody has. An
answer's share of all votes says better than a cosine whether it is right: a neighbour that is near and alone, among
others with other answers, has a low one, and what several vouch for has a high one though none of them is very near.
What a share is worth is not said here: the calibration learns it from labels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

# So many vote.
NEIGHBOURS = 8
# Of cosines: that much nearer is e times as strong a vote.
_NEARER = 0.1
# Where the one stands that is for no answer.
_NOBODY = 0.6


class Voter(Protocol):
    """A question nearby: how near, and to which family its answer belongs."""

    @property
    def similarity(self) -> float:
        """A cosine."""
        ...

    @property
    def family(self) -> bytes:
        """A name that all with the same answer have."""
        ...


def shares(nearest: Iterable[Voter]) -> Mapping[bytes, float]:
    """Each family's share of the votes, below 1; in all they are less than 1 too. `nearest` comes nearest first."""
    votes: defaultdict[bytes, float] = defaultdict(float)
    for each in islice(nearest, NEIGHBOURS):
        votes[each.family] += _vote(each.similarity)
    everybody = math.fsum(votes.values()) + _vote(_NOBODY)
    return {family: strength / everybody for family, strength in votes.items()}


def _vote(similarity: float) -> float:
    return math.exp((similarity - 1) / _NEARER)
