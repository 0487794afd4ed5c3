"""Which questions the semantic tier may look at: tables."""

from __future__ import annotations

import pytest

from libs.generation.question import (
    Conversation,
    Image,
    Message,
    Part,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from libs.generation.question import Question as Input
from services.cache.domain.code import looks_like_code
from services.cache.domain.english import is_english
from services.cache.domain.model import Question, Tier
from services.cache.domain.semantic_eligibility import SemanticBypass, furthest_tier, semantic_bypass
from tests.unit.cache.questions import asked, question


def conversation(*turns: tuple[Role, Part]) -> Question:
    messages = tuple(Message(role, (part,)) for role, part in turns)
    return question(Input(Conversation(messages), sampling=Sampling(temperature=0)))


PRINTER = (Role.USER, Text("why does the printer blink"))


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        (question(), None),
        (question(asked("How do I close my account?")), None),
        (question(Input("How do I close my account?", sampling=Sampling(temperature=0))), None),
        (question(asked("Hello", temperature=0.1)), SemanticBypass.TEMPERATURE),
        (question(asked("Hello", temperature=0.1), reuse_sampled=True), None),
        (question(asked("Hello", tools=(Tool("f", "", "{}"),))), SemanticBypass.TOOLS),
        (
            conversation(
                PRINTER,
                (Role.ASSISTANT, ToolCall("1", "look", "{}")),
                (Role.TOOL, ToolResult("1", "paper jam")),
                PRINTER,
            ),
            SemanticBypass.TOOLS,
        ),
        (question(asked((Image(b"x", "image/png"), Text("what is this")))), SemanticBypass.IMAGES),
        (
            conversation((Role.USER, Image(b"x", "image/png")), (Role.ASSISTANT, Text("A cat.")), PRINTER),
            SemanticBypass.IMAGES,
        ),
        (question(asked(" \n")), SemanticBypass.EMPTY),
        (conversation((Role.ASSISTANT, Text("Hello"))), SemanticBypass.EMPTY),
        (question(asked("why? " * 800)), None),
        (question(asked("why? " * 801)), SemanticBypass.TOO_LONG),
        (question(asked("what does print(x) do")), SemanticBypass.CODE),
        (conversation((Role.USER, Text("x == 1")), (Role.ASSISTANT, Text("`x`")), PRINTER), None),
    ],
)
def test_a_question_is_one_for_the_semantic_tier_unless_there_is_a_reason(
    asks: Question, reason: SemanticBypass | None
) -> None:
    assert semantic_bypass(asks) is reason


@pytest.mark.parametrize(
    "text",
    [
        "what does `ls` do",
        "```\nx\n```",
        "why is x == y false",
        "what does foo() return",
        "rename user_id please",
        "what is getUserName for",
        "git log --oneline",
        "open https://example.org/a",
        "write to ann@example.org",
        "delete /etc/hosts",
        "read config.yaml",
        "what is 3f2a9c1b7d",
        "def f(x):\n  return x",
        "for each in things:\n",
        "SELECT name FROM users WHERE age",
        "fix this:\na: 1\nb: 2",
        "1,2,3,4\n5,6,7,8",
        "if a:\n    b\n    c",
        "<b>bold</b>",
        "echo $HOME",
        "a[0]",
    ],
)
def test_what_is_written_for_machines_is_code(text: str) -> None:
    assert looks_like_code(text)


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my iPhone?",
        "Return policy for shoes?",
        "Import my contacts, please: there are 300.",
        "Class schedule for Monday",
        "What does PayPal charge for $5k?",
        "Which item(s) can I return and/or exchange 24/7?",
        "Is it 5% or $20 - and why?",
        "First question: how long does it take?\nThanks!",
        "Can you e-mail me the invoice (the one from May)?",
        "What's the Wi-Fi code; is it free?",
    ],
)
def test_what_people_write_is_no_code(text: str) -> None:
    assert not looks_like_code(text)


@pytest.mark.parametrize(
    "text",
    ["How do I close my account?", "when does it open", "Thanks, and what about the other one?", "The weather in Oslo"],
)
def test_english_shows(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "Wie kündige ich mein Konto?",
        "Was ist die Hauptstadt von Frankreich?",
        "Comment puis-je changer mon mot de passe ?",
        "¿Cómo puedo cambiar mi contraseña?",
        "Como faço para mudar a minha senha?",
        "Hoe kan ik mijn wachtwoord wijzigen? Is het gratis?",
        "Come posso cambiare la mia password?",
        "パスワードを変更するには",
        "как изменить пароль",
        "كيف أغير كلمة المرور",
        "Oslo weather",
        "42",
        "",
    ],
)
def test_what_does_not_show_that_it_is_english_may_be_another_language(text: str) -> None:
    assert not is_english(text)


@pytest.mark.parametrize(
    ("text", "tier", "furthest"),
    [
        ("How do I close my account?", Tier.CALIBRATED, Tier.CALIBRATED),
        ("Wie kündige ich mein Konto?", Tier.CALIBRATED, Tier.STRICT),
        ("Wie kündige ich mein Konto?", Tier.BALANCED, Tier.STRICT),
        ("Wie kündige ich mein Konto?", Tier.STRICT, Tier.STRICT),
        ("Wie kündige ich mein Konto?", Tier.EXACT, Tier.EXACT),
    ],
)
def test_other_languages_than_english_go_no_further_than_strict(text: str, tier: Tier, furthest: Tier) -> None:
    assert furthest_tier(question(asked(text)), tier) is furthest
