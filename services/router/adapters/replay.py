"""A stored answer as a stream again."""

from __future__ import annotations

from collections.abc import Iterator

from tokenway.common.v1.generation_pb2 import Delta

# A short answer still streams. Sending a message costs as much as finding the answer (0.2 ms), so a long one is
# not a message a token.
_USUAL_PARTS = 4
_MAX_PIECES = 32


def replay(whole: Delta) -> Iterator[Delta]:
    """Parts that joined are the whole: no piece is split, dropped or reordered within its field.

    Logprobs go with the tokens that they are about, reasoning with the empty texts that count its tokens. Where these
    do not tally, logprobs that are left go with the last part, and reasoning that is too much with the first.
    """
    pieces = len(whole.text)
    size = min(max(pieces // _USUAL_PARTS, 1), _MAX_PIECES)
    starts = range(0, pieces, size) if pieces else range(1)
    early = max(0, len(whole.reasoning) - list(whole.text).count(""))
    logprobs_from = reasoning_from = 0
    for start in starts:
        last = start == starts[-1]
        text = whole.text[start : start + size]
        counts = whole.token_counts[start : start + size]
        logprobs_to = len(whole.logprobs) if last else logprobs_from + sum(counts)
        thoughts = text.count("") + (early if start == 0 else 0)
        reasoning_to = len(whole.reasoning) if last else reasoning_from + thoughts
        yield Delta(
            text=text,
            token_counts=counts,
            logprobs=whole.logprobs[logprobs_from:logprobs_to],
            reasoning=whole.reasoning[reasoning_from:reasoning_to],
        )
        logprobs_from, reasoning_from = logprobs_to, reasoning_to
