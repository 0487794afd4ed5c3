"""From the chunks of a provider to the events of an answer."""

from __future__ import annotations

from collections.abc import Iterator

from libs.errors import Reason, TokenwayError
from libs.money import Usage, UsageSource
from services.inference.adapters.openai_chunk import Choice, ChosenToken, Chunk, Counted, LikelyToken, Said
from services.inference.adapters.openai_errors import ProviderErrors
from services.inference.domain.answer import (
    Delta,
    Event,
    Finished,
    FinishReason,
    Started,
    TokenLogprob,
    ToolCallDelta,
    TopLogprobs,
)

# The terminal mark, behind the chunk with the finish reason.
_DONE = "[DONE]"
_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAiAnswer:
    """Makes events of one answer's chunks. It is an answer only once `done`, which takes a finish reason and [DONE].

    A provider counts at the end. Until then each chunk with something said in it counts as one token, or as those that
    it gives probabilities of; what that was short of comes with the end, as tokens of a piece without text.
    """

    def __init__(self, *, model: str, estimated_input_tokens: int, max_tokens: int, errors: ProviderErrors) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._errors = errors
        self._estimated_input_tokens = estimated_input_tokens
        self._estimated_output_tokens = 0
        self._counted: Usage | None = None
        self._reason: FinishReason | None = None
        self._called_tools = False
        self.started = False
        self.done = False

    def events(self, data: str) -> Iterator[Event]:
        """MalformedError for what is no chunk; what the provider says in mid-stream has gone wrong, as an error."""
        if data.strip() == _DONE:
            yield from self._end()
            return
        chunk = Chunk.of(data)
        if chunk.error is not None:
            raise self._errors.in_stream(chunk.error, started=self.started, input_tokens=self._estimated_input_tokens)
        if chunk.usage is not None:  # some repeat it in each chunk: the last one counts
            self._counted = _usage(chunk.usage)
        for choice in chunk.choices:
            yield from self._choice(choice)

    def _choice(self, choice: Choice) -> Iterator[Event]:
        if choice.delta.refusal:
            raise self._errors.content_refused(started=self.started)
        delta = _delta(choice)
        if delta is not None:
            yield from self._start()
            self._estimated_output_tokens += sum(delta.token_counts)
            self._called_tools = self._called_tools or bool(delta.tool_calls)
            yield delta
        if choice.finish_reason is not None:
            self._reason = self._mapped(choice.finish_reason)

    def _start(self) -> Iterator[Event]:
        if not self.started:
            self.started = True
            yield Started(self._estimated_input_tokens)

    def _end(self) -> Iterator[Event]:
        if self._reason is None:
            about = {"model": self._model}
            raise TokenwayError(Reason.STREAM_BROKEN, f"{self._model} ended without a finish reason: ask again", about)
        usage = self._usage()
        # No more than was asked for: what a provider bills beyond that is in the usage alone, and no lease covers it.
        short = min(usage.output_tokens, self._max_tokens) - self._estimated_output_tokens
        if short > 0 or not self.started:
            yield from self._start()
            yield Delta(("",), (max(0, short),))
        self.done = True
        yield Finished(self._reason, usage)

    def _usage(self) -> Usage:
        """The provider's count. One that gives none, or counts nothing where something was said, is not believed."""
        estimated = Usage(self._estimated_input_tokens, 0, self._estimated_output_tokens, UsageSource.ESTIMATED)
        if self._counted is None or (self._estimated_output_tokens and not self._counted.output_tokens):
            return estimated
        return self._counted

    def _mapped(self, reason: str) -> FinishReason:
        mapped = _REASONS.get(reason)
        if mapped is None:
            # Not repeated: it is whatever a stranger wrote.
            message = f"{self._model} ended its answer for a reason that this version does not know"
            raise TokenwayError(Reason.INTERNAL, message, {"model": self._model})
        # OpenAI says "stop" where the one tool that was named has been called.
        return FinishReason.TOOL_CALLS if mapped is FinishReason.STOP and self._called_tools else mapped


def _delta(choice: Choice) -> Delta | None:
    """None for a chunk in which nothing is said: the first has the role alone, the last the finish reason."""
    said = choice.delta
    chosen = (choice.logprobs.content if choice.logprobs else None) or ()
    reasoning = said.reasoning_content or said.reasoning
    if not (said.content or reasoning or said.tool_calls or chosen):
        return None
    return Delta(
        (said.content or "",),
        (len(chosen) or 1,),
        tuple(_top_logprobs(each) for each in chosen),
        (reasoning,) if reasoning else (),
        tuple(_tool_calls(said)),
    )


def _tool_calls(said: Said) -> Iterator[ToolCallDelta]:
    for call in said.tool_calls or ():
        name, arguments = (call.function.name, call.function.arguments) if call.function else (None, None)
        yield ToolCallDelta(call.index, call.id or "", name or "", arguments or "")


def _top_logprobs(chosen: ChosenToken) -> TopLogprobs:
    return TopLogprobs(_logprob(chosen), tuple(_logprob(each) for each in chosen.top_logprobs))


def _logprob(token: LikelyToken) -> TokenLogprob:
    return TokenLogprob(token.token, token.logprob)


def _usage(counted: Counted) -> Usage:
    read = counted.prompt_tokens
    return Usage(read, min(counted.cached_tokens, read), counted.completion_tokens, UsageSource.PROVIDER)
