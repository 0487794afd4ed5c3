"""Every way in which a request may end: what its caller may see, and which spans the router's then has below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.errors import Reason

# How many spans of a kind there may be, from and to.
Count = tuple[int, int]
Tree = Mapping[str, Count]

NONE, ONE, MAYBE, SOME, ANY = (0, 0), (1, 1), (0, 1), (1, 99), (0, 99)
# An attempt is a span named after its model; the others are called by their RPC or their own name.
ATTEMPT = "attempt"
# Every kind that may stand below a router's span; what a tree does not name must not be there.
KINDS = ("guard.input", "route", "Lookup", "Reserve", ATTEMPT, "Extend", "guard.output", "Settle", "Release", "Fill")


@dataclass(frozen=True, slots=True)
class Ending:
    """`sees` holds OK or Reasons, `outcomes` the router's word for it, which is empty where no model was asked for."""

    sees: frozenset[str]
    outcomes: frozenset[str]
    tree: Tree

    def count(self, kind: str) -> Count:
        return self.tree.get(kind, NONE)


def _ending(sees: str | tuple[str, ...], outcomes: str | tuple[str, ...], **tree: Count) -> Ending:
    return Ending(_several(sees), _several(outcomes), tree)


def _several(words: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset({words} if isinstance(words, str) else words)


_ROUTED: Tree = {"guard.input": ONE, "route": ONE}
_ASKED: Tree = {**_ROUTED, "Lookup": ONE, "Reserve": ONE}
_ANSWERED: Tree = {**_ASKED, "guard.output": ONE}
_TRIED: Tree = {**_ANSWERED, ATTEMPT: SOME, "Extend": ANY}
_BILLED: Tree = {**_TRIED, "Settle": ONE}
_FINISHED: Tree = {**_BILLED, "Fill": ONE}
# Wherever it was at its end. What the caller had got by then says more; see account.
_ANYWHERE: Tree = {**dict.fromkeys((*_FINISHED, "Release"), MAYBE), ATTEMPT: ANY, "Extend": ANY}
_UNBEGUN: Tree = {**_ANYWHERE, "Reserve": (0, 2), "Settle": NONE, "Fill": NONE}

LEFT, LATE = Reason.CANCELLED, Reason.OUT_OF_TIME
ENGINE_KILLED, ROUTER_KILLED = "killed: the engine", "killed: the router"
# Nobody means these: on a machine that stands still for a second Redis does not answer in time.
NO_LEDGER, LEDGER_LOST, NO_KEYS = "stalled: no ledger", "stalled: no ledger in mid-answer", "stalled: no keys"
FINISHED, LEFT_BETWEEN_DELTAS, CROWDED = "finished", "cancelled: between deltas", "refused: concurrency"

ENDINGS: Mapping[str, Ending] = {
    FINISHED: _ending("OK", "finished", **_FINISHED),
    "finished: cut by max_tokens": _ending("OK", "finished", **_BILLED),
    "finished: cut by the guard": _ending("OK", "finished", **_BILLED),
    "finished: extended its lease": _ending("OK", "finished", **{**_FINISHED, "Extend": SOME}),
    "finished: from the cache": _ending("OK", "cached", **_ANSWERED, Release=ONE),
    "finished: after retries": _ending("OK", "finished", **{**_FINISHED, ATTEMPT: (3, 99), "Reserve": (1, 2)}),
    "finished: by a fallback": _ending("OK", "finished", **{**_FINISHED, ATTEMPT: (3, 99), "Reserve": (2, 2)}),
    "cancelled: on the way in": _ending(("OK", LEFT), ("", "finished", "cancelled"), **_ANYWHERE),
    "cancelled: while looking up": _ending(LEFT, ("", "cancelled"), **_ANYWHERE),
    "cancelled: between attempts": _ending(LEFT, ("", "cancelled"), **_UNBEGUN),
    "cancelled: before the first token": _ending(LEFT, ("", "cancelled"), **_UNBEGUN),
    LEFT_BETWEEN_DELTAS: _ending(LEFT, "cancelled", **_BILLED),
    "cancelled: with the last message": _ending(LEFT, "finished", **_FINISHED),
    "deadline: on the way in": _ending(("OK", LATE), ("", "finished", "deadline"), **_ANYWHERE),
    "deadline: before the first token": _ending(LATE, ("", "deadline"), **_UNBEGUN),
    "deadline: between deltas": _ending(LATE, ("", "deadline"), **_ANYWHERE),
    "deadline: near the last message": _ending(("OK", LATE), ("", "finished", "deadline"), **_ANYWHERE),
    "refused: bad request": _ending(Reason.INVALID_REQUEST, ""),
    "refused: unknown key": _ending(Reason.KEY_UNKNOWN, ""),
    "refused: content": _ending(Reason.CONTENT_REFUSED, "", **{"guard.input": ONE}),
    "refused: budget": _ending(Reason.BUDGET_EXCEEDED, "failed", **_ASKED),
    "refused: capability": _ending(Reason.NO_MODEL_QUALIFIES, "", **_ROUTED),
    CROWDED: _ending(Reason.CONCURRENCY_EXCEEDED, ""),
    "failed: every candidate": _ending(
        Reason.ALL_CANDIDATES_FAILED,
        "failed",
        **{**_TRIED, ATTEMPT: (5, 99), "Reserve": (2, 2), "Release": ONE, "guard.output": NONE},
    ),
    "broken: the engine says so": _ending(Reason.STREAM_BROKEN, "failed", **_BILLED),
    "broken: without a last message": _ending(Reason.STREAM_BROKEN, "failed", **_BILLED),
    NO_LEDGER: _ending(
        Reason.BUDGET_UNAVAILABLE, "failed", **{**_UNBEGUN, "route": ONE, "Reserve": (1, 2), "Release": ANY}
    ),
    LEDGER_LOST: _ending("OK", "budget", **{**_BILLED, "Settle": ANY}),
    NO_KEYS: _ending(Reason.KEY_STORE_UNAVAILABLE, ""),
    ENGINE_KILLED: _ending(Reason.STREAM_BROKEN, "failed", **_BILLED),
    ROUTER_KILLED: _ending(Reason.SERVICE_UNAVAILABLE, "", **_ANYWHERE),
}
