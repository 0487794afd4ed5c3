"""A whole answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydantic import TypeAdapter

from tokenway.common.v1.generation_pb2 import FinishReason as ProtoFinishReason
from tokenway.common.v1.generation_pb2 import ToolCall
from tokenway.common.v1.money_pb2 import Receipt
from tokenway.router.v1.router_pb2 import GenerateResponse

Form = TypeVar("Form")


class FinishReason(StrEnum):
    """Why an answer ended: the names of `tokenway.common.v1.FinishReason`, where each is explained."""

    UNSPECIFIED = "UNSPECIFIED"  # a mesh that is newer than this client has more
    STOP = "STOP"
    LENGTH = "LENGTH"
    TOOL_CALLS = "TOOL_CALLS"
    BUDGET = "BUDGET"
    BUDGET_UNAVAILABLE = "BUDGET_UNAVAILABLE"
    CONTENT_FILTER = "CONTENT_FILTER"


_FINISH_REASONS = {ProtoFinishReason.Value(f"FINISH_REASON_{each}"): each for each in FinishReason}


@dataclass(frozen=True, slots=True)
class Answer:
    """The text is what `str()` gives; everything else is in `message`, as the proto has it."""

    message: GenerateResponse

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def reasoning(self) -> str:
        """Empty where the model does not show it."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tools that the model calls; answer each with a `tool_result`."""
        return self.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        return _FINISH_REASONS.get(self.message.finished.finish_reason, FinishReason.UNSPECIFIED)

    @property
    def receipt(self) -> Receipt:
        """Model, tokens and what they cost, in whole micro-dollars."""
        return self.message.finished.receipt

    def parse(self, form: type[Form]) -> Form:
        """The text, asked for with `schema=form`, as such a thing. ValueError if it is none: cut short, for example."""
        return TypeAdapter(form).validate_json(self.text)
