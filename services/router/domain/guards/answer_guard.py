"""The guard of one answer: it holds back only what may still become a match, and gives the rest on at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Protocol

from libs.clock import Clock
from libs.generation.channel import Channel, ChannelKind
from services.router.domain.answer import Delta, FinishReason, Started
from services.router.domain.guards.forms import Form, Json, Plain
from services.router.domain.guards.placeholders import RESTORE, Placeholders
from services.router.domain.guards.policy import TIME_LIMIT, Action, Direction, GuardWatcher, Verdict
from services.router.domain.guards.scan import Scan, Span
from services.router.domain.guards.scanner import Scanner

Pieces = AsyncGenerator[Started | Delta]


class OutputGuard(Protocol):
    """Stands between an answer and its caller."""

    # Why the guard ended the answer early; None: it did not.
    ended_by: FinishReason | None
    # Whether the caller got another answer than the model gave.
    acted: bool

    def guarded(self, pieces: Pieces) -> Pieces:
        """The pieces as the caller may have them. It ends early where `ended_by` says so, and closes what it reads.

        Whatever is held when they break off is never given away: half of it may be what a rule looks for.
        """
        ...


class Unguarded:
    """Where no policy is: nothing is looked at."""

    ended_by: FinishReason | None = None
    acted = False

    def guarded(self, pieces: Pieces) -> Pieces:
        return pieces


class AnswerGuard:
    """Each channel is one text of its own, however its pieces are mixed with those of others."""

    def __init__(self, *, scanner: Scanner, placeholders: Placeholders, watcher: GuardWatcher, clock: Clock) -> None:
        self._scanner, self._placeholders, self._watcher, self._clock = scanner, placeholders, watcher, clock
        # The question's. What is redacted in the answer gets a placeholder too, which the model may guess and write.
        self._restored = placeholders.contents()
        self._texts: dict[Channel, HeldText] = {}
        self._judged: Callable[[Verdict], None] = lambda _: None
        self.ended_by: FinishReason | None = None
        self.acted = False

    async def guarded(self, pieces: Pieces) -> Pieces:
        """See OutputGuard. Every delta goes on with its tokens, be all its text held: what is counted stays true."""
        async with aclosing(pieces):
            # Started: until then there is nothing to guard.
            yield await anext(pieces)
            with self._watched():
                latest: Delta | None = None
                async for piece in pieces:
                    latest = self._rewritten(piece)
                    yield latest
                    if self.ended_by:
                        return
                rest = self._rest()
                if latest is not None and rest:
                    yield latest.without_tokens(rest)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with self._watcher.guarding(Direction.OUTPUT) as self._judged:
            try:
                yield
            finally:
                held = self._texts.values()
                seconds = max((each.longest_seconds for each in held), default=0.0)
                self._watcher.held(seconds=seconds, characters=max((each.most_characters for each in held), default=0))

    def _rewritten(self, piece: Started | Delta) -> Delta:
        if isinstance(piece, Started):
            raise TypeError("an answer starts once")
        return piece.rewritten(self._passed)

    def _rest(self) -> dict[Channel, str]:
        """What is still held, by channel."""
        rest = {channel: self._passed(channel, "", last=True) for channel in self._texts}
        return {channel: text for channel, text in rest.items() if text}

    def _passed(self, channel: Channel, piece: str, *, last: bool = False) -> str:
        if self.ended_by:
            return ""
        text = self._texts.get(channel)
        if text is None:
            text = self._texts[channel] = HeldText(channel, self._scanner, self._clock)
        try:
            spans = text.feed(piece, last=last)
        except TimeoutError:
            self._block(TIME_LIMIT)
            return ""
        return "".join(self._written(text.form, each) for each in spans)

    def _written(self, form: Form, span: Span) -> str:
        rule = span.rule
        if self.ended_by:
            return ""
        if rule is None:
            return form.written(span.text)
        if rule is RESTORE:
            content = self._restored.get(span.text)
            return form.written(span.text) if content is None else form.replaced(span.text, content)
        if rule.action is Action.BLOCK:
            self._block(rule.name)
            return ""
        if span.continued:
            return form.replaced(span.text, "")
        self.acted = True
        self._judged(Verdict(rule.name, rule.action))
        return form.replaced(span.text, self._placeholders.of(rule, span.text))

    def _block(self, rule: str) -> None:
        self.acted, self.ended_by = True, FinishReason.CONTENT_FILTER
        self._judged(Verdict(rule, Action.BLOCK))


class HeldText:
    """The text of one channel, and how much of it waits for how long."""

    def __init__(self, channel: Channel, scanner: Scanner, clock: Clock) -> None:
        self.form: Form = Json() if channel.kind is ChannelKind.TOOL_ARGUMENTS else Plain()
        self.longest_seconds, self.most_characters = 0.0, 0
        self._scan, self._clock = Scan(scanner), clock
        # When the oldest of what is held came.
        self._since = 0.0

    def feed(self, piece: str, *, last: bool) -> list[Span]:
        """What is decided by now."""
        held_before, now = self._scan.held_characters, self._clock.monotonic()
        said = self.form.read(piece, last=last)
        spans = self._scan.feed(said, last=last)
        held = self._scan.held_characters
        if held_before and held < held_before + len(said):
            self.longest_seconds = max(self.longest_seconds, now - self._since)
        if held <= len(said):
            self._since = now
        self.most_characters = max(self.most_characters, held)
        return spans
