"""From vLLM's outputs to the events of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from libs.errors import Reason, TokenwayError
from libs.money import Usage, UsageSource
from services.inference.domain.answer import (
    Delta,
    Event,
    Finished,
    FinishReason,
    Started,
    TokenLogprob,
    TopLogprobs,
)

# "repetition": a model in a loop, ended on request of its configuration. Whatever else ("abort", "error"): no answer.
_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH, "repetition": FinishReason.STOP}


class Logprob(Protocol):
    """vllm.logprobs.Logprob."""

    logprob: float
    rank: int | None
    decoded_token: str | None


class Completion(Protocol):
    """vllm.outputs.CompletionOutput, in DELTA mode."""

    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, Logprob]] | None
    finish_reason: str | None


class Output(Protocol):
    """vllm.outputs.RequestOutput."""

    prompt_token_ids: Sequence[int]
    num_cached_tokens: int | None
    outputs: Sequence[Completion]
    # vllm.v1.metrics.stats.RequestStateStats, on the monotonic clock of the engine's process.
    metrics: Any


class VllmAnswer:
    """Makes events of one request's outputs. vLLM joins those that a slow consumer has let pile up."""

    def __init__(self, *, model: str, top_logprobs: int) -> None:
        self._model = model
        self._top_logprobs = top_logprobs
        self._started: Started | None = None
        self._output_tokens = 0

    def events(self, output: Output) -> Iterator[Event]:
        (completion,) = output.outputs
        started = self._started
        if started is None:
            started = self._started = _started(output)
            yield started
        if completion.text or completion.token_ids:
            self._output_tokens += len(completion.token_ids)
            yield Delta((completion.text,), (len(completion.token_ids),), self._logprobs(completion))
        if completion.finish_reason is not None:
            usage = Usage(started.input_tokens, started.cached_input_tokens, self._output_tokens, UsageSource.ENGINE)
            yield Finished(self._reason(completion.finish_reason), usage)

    @property
    def kv_cache_tokens(self) -> int:
        """Tokens that the request has in the KV cache by now."""
        return self._output_tokens + (self._started.input_tokens if self._started else 0)

    def _logprobs(self, completion: Completion) -> tuple[TopLogprobs, ...]:
        if not self._top_logprobs or not completion.logprobs:
            return ()
        return tuple(
            _top_logprobs(candidates, chosen, self._top_logprobs)
            for chosen, candidates in zip(completion.token_ids, completion.logprobs, strict=True)
        )

    def _reason(self, reason: str) -> FinishReason:
        if reason not in _REASONS:
            about = {"model": self._model}
            raise TokenwayError(Reason.STREAM_BROKEN, f"{self._model} gave up in mid-answer ({reason})", about)
        return _REASONS[reason]


def _started(output: Output) -> Started:
    times = output.metrics
    known = times is not None and times.scheduled_ts and times.queued_ts and times.first_token_ts
    return Started(
        input_tokens=len(output.prompt_token_ids),
        cached_input_tokens=output.num_cached_tokens or 0,
        queue_seconds=times.scheduled_ts - times.queued_ts if known else None,
        prefill_seconds=times.first_token_ts - times.scheduled_ts if known else None,
    )


def _top_logprobs(candidates: Mapping[int, Logprob], chosen: int, top: int) -> TopLogprobs:
    """The chosen token is among the candidates even when it is not among the likeliest."""
    ranked = sorted(candidates.values(), key=lambda each: -each.logprob)[:top]
    return TopLogprobs(_token_logprob(candidates[chosen]), tuple(_token_logprob(each) for each in ranked))


def _token_logprob(candidate: Logprob) -> TokenLogprob:
    return TokenLogprob(candidate.decoded_token or "", candidate.logprob)
