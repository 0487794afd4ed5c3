"""A question on its way to the engine."""

from __future__ import annotations

from dataclasses import dataclass

from libs.generation.question import Question


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One question to the engine. Lower priority is sooner; attempts count from 1; an empty adapter is none."""

    request_id: str
    model: str
    question: Question
    priority: int = 0
    attempt: int = 1
    adapter: str = ""
