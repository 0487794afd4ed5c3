"""How tokens are drawn, in vLLM's terms."""

from __future__ import annotations

from typing import Any

from libs.generation.question import Grammar, JsonObject, JsonSchema, Question, Regex, ResponseFormat


def sampling_params(question: Question, *, max_tokens: int) -> Any:
    """A SamplingParams of vLLM: one answer, streamed as deltas. Raises what vLLM raises for what it does not take."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    sampling = question.sampling
    wanted = structured_outputs(question.response_format)
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        max_tokens=max_tokens,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
        stop=list(sampling.stop),
        logprobs=sampling.top_logprobs or None,
        output_kind=RequestOutputKind.DELTA,
        structured_outputs=StructuredOutputsParams(**wanted) if wanted else None,
    )


def structured_outputs(wanted: ResponseFormat | None) -> dict[str, Any]:
    """Keyword arguments of vLLM's StructuredOutputsParams; empty for plain text."""
    match wanted:
        case None:
            return {}
        case JsonObject():
            return {"json_object": True}
        case JsonSchema(schema):
            return {"json": schema}
        case Regex(pattern):
            return {"regex": pattern}
        case Grammar(ebnf):
            return {"grammar": ebnf}
