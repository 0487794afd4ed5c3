"""The words of the scripted engine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from libs.generation.question import Image, Question, Text, ToolCall, ToolResult

_WORDS = (
    *("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "islet", "jetty", "knoll", "lagoon"),
    *("meadow", "nectar", "orchard", "prairie", "quarry", "ridge", "summit", "tundra", "upland", "valley", "willow"),
    *("yarrow", "zephyr", "brook", "cliff", "dune", "estuary", "field", "glade", "harbour"),
)
_TOKEN = re.compile(r"\s*\S+")


def prompt_of(question: Question) -> str:
    """All that is said in a question, a line a part; an image counts as one word."""
    if isinstance(question.prompt, str):
        return question.prompt
    return "\n".join(_said(part) for message in question.prompt.messages for part in message.parts)


def tokens_of(text: str) -> list[str]:
    """A token is a word with the space before it."""
    return _TOKEN.findall(text)


def endless_answer(prompt: str) -> Iterator[str]:
    """Always the same tokens for the same prompt."""
    seed = hashlib.sha256(prompt.encode()).digest()
    yield _word(seed, 0)
    index = 1
    while True:
        yield " " + _word(seed, index)
        index += 1


def _word(seed: bytes, index: int) -> str:
    digest = hashlib.blake2b(index.to_bytes(8, "big"), key=seed, digest_size=2).digest()
    return _WORDS[int.from_bytes(digest, "big") % len(_WORDS)]


def _said(part: Text | Image | ToolCall | ToolResult) -> str:
    match part:
        case Text(text):
            return text
        case Image():
            return "image"
        case ToolCall(_, name, arguments):
            return f"{name} {arguments}"
        case ToolResult(_, content):
            return content


class StopText:
    """Lets text through that can no longer become a stop sequence, as vLLM does."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._held_length = max((len(each) for each in stop), default=1) - 1
        self._held = ""
        self.found = False

    def take(self, text: str, *, last: bool) -> str:
        """What may go out now, everything if it is the last; once a stop sequence is `found`, what stands before it."""
        held = self._held + text
        cuts = [at for at in (held.find(each) for each in self._stop) if at >= 0]
        if cuts:
            self.found = True
            return held[: min(cuts)]
        keep = 0 if last else self._held_length
        out, self._held = held[: len(held) - keep], held[len(held) - keep :]
        return out
