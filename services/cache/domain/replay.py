"""A stored answer as a stream again."""

from __future__ import annotations

from collections.abc import Iterator

from services.cache.domain.model import AnswerPart

# A short answer still streams. Sending a message costs as much as finding the answer (0.2 ms), so a long one is
# not a message a token.
_USUAL_PARTS = 4
_MAX_PIECES = 32


def replay(whole: AnswerPart) -> Iterator[AnswerPart]:
    """Parts that joined are the whole: no piece is split, dropped or reordered within its field.

    Logprobs go with the tokens that they are about, reasoning with the empty texts that count its tokens. Where these
    do not tally, logprobs that are left go with the last part, and reasoning that is too much with the first.
    """
    pieces = len(whole.text)
    size = min(max(pieces // _USUAL_PARTS, 1), _MAX_PIECES)
    starts = range(0, pieces, size) if pieces else range(1)
    reasoning_left = list(whole.reasoning)
    early = max(0, len(reasoning_left) - whole.text.count(""))
    logprobs_from = 0
    for start in starts:
        last = start == starts[-1]
        text = whole.text[start : start + size]
        counts = whole.token_counts[start : start + size]
        thoughts = len(reasoning_left) if last else text.count("") + (early if start == 0 else 0)
        logprobs_to = len(whole.logprobs) if last else logprobs_from + sum(counts)
        yield AnswerPart(
            text=text,
            token_counts=counts,
            logprobs=whole.logprobs[logprobs_from:logprobs_to],
            reasoning=tuple(reasoning_left[:thoughts]),
        )
        del reasoning_left[:thoughts]
        logprobs_from = logprobs_to
