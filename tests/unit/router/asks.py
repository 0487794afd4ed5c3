"""Requests, models and principals that tests vary by one thing at a time."""

from __future__ import annotations

from typing import Any

from libs.generation.question import Conversation, Message, Question, Role, Sampling, Text
from libs.money import Price
from services.router.domain.ask import Ask
from services.router.domain.catalogue import Model
from services.router.domain.principal import Principal

PRINCIPAL = Principal(key_id="ci", organisation="acme")


def price(dollars_per_1k_tokens: float) -> Price:
    micro = round(dollars_per_1k_tokens * 1_000 * 1_000_000)
    return Price(micro, micro, micro)


def model(name: str, **changes: Any) -> Model:
    given: dict[str, Any] = {
        "name": name,
        "tier": "small",
        "price": price(0.0002),
        "context_window_tokens": 4_096,
        "capabilities": frozenset({"simple_qa"}),
        "p99_latency_seconds": 0.5,
        "revision": "1",
    }
    return Model(**given | changes)


# The four tiers that every table of models here is checked against.
TIERS = (
    model("llama-3-7b", capabilities=frozenset({"classification", "extraction", "simple_qa"})),
    model(
        "mixtral-8x7b",
        tier="medium",
        price=price(0.002),
        context_window_tokens=32_000,
        capabilities=frozenset({"reasoning", "code_generation", "summarization"}),
        p99_latency_seconds=1.5,
    ),
    model(
        "llama-3-70b",
        tier="large",
        price=price(0.01),
        context_window_tokens=8_192,
        capabilities=frozenset({"complex_reasoning", "creative_writing"}),
        p99_latency_seconds=3.0,
    ),
    model(
        "gpt-4-turbo",
        tier="frontier",
        price=price(0.03),
        context_window_tokens=128_000,
        capabilities=frozenset({"all"}),
        p99_latency_seconds=5.0,
    ),
)


def question(text: str = "hello", *, max_tokens: int = 16) -> Question:
    return Question(Conversation((Message(Role.USER, (Text(text),)),)), Sampling(max_tokens=max_tokens))


def ask(text: str = "hello", *, max_tokens: int = 16, **changes: Any) -> Ask:
    return Ask(question=question(text, max_tokens=max_tokens), **changes)
