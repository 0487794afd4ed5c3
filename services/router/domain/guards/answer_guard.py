"""The guard of one answer: it holds back only what may still become a match, and gives the rest on at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
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
        self._texts: dict[Channel, HeldText] = {}
        self._verdicts: list[Verdict] = []
        self.ended_by: FinishReason | None = None
        self.acted = False

    async def guarded(self, pieces: Pieces) -> Pieces:
        """See OutputGuard. Every delta goes on with its tokens, be all its text held: what is counted stays true."""
        latest: Delta | None = None
        with self._watcher.guarding(Direction.OUTPUT) as judged:
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        if isinstance(piece, Started):
                            yield piece
                            continue
                        latest = piece.rewritten(self._passed)
                        self._tell(judged)
                        yield latest
                        if self.ended_by:
                            break
                rest = {channel: self._passed(channel, "", last=True) for channel in self._texts}
                self._tell(judged)
                if latest is not None and any(rest.values()):
                    yield latest.without_tokens({channel: text for channel, text in rest.items() if text})
            finally:
                held = self._texts.values()
                self._watcher.held(
                    seconds=max((each.longest_seconds for each in held), default=0.0),
                    characters=max((each.most_characters for each in held), default=0),
                )

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
            content = self._placeholders.content(span.text)
            return form.written(span.text) if content is None else form.replaced(span.text, content)
        if rule.action is Action.BLOCK:
            self._block(rule.name)
            return ""
        if span.continued:
            return form.replaced(span.text, "")
        self.acted = True
        self._verdicts.append(Verdict(rule.name, rule.action))
        return form.replaced(span.text, self._placeholders.of(rule, span.text))

    def _block(self, rule: str) -> None:
        self.acted, self.ended_by = True, FinishReason.CONTENT_FILTER
        self._verdicts.append(Verdict(rule, Action.BLOCK))

    def _tell(self, judged: Callable[[Verdict], None]) -> None:
        for each in self._verdicts:
            judged(each)
        self._verdicts.clear()


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
