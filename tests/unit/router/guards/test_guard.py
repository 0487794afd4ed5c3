"""A question meets its organisation's policy: refused before anything is spent, rewritten, or passed as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import (
    Conversation,
    Grammar,
    JsonSchema,
    Message,
    Regex,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from services.router.domain.ask import Ask
from services.router.domain.guards.answer_guard import Unguarded
from services.router.domain.guards.forms import Json
from services.router.domain.guards.policy import TIME_LIMIT, Action, Direction, GuardPolicy, Pattern, Pii
from services.router.domain.guards.question_text import QuestionText
from services.router.domain.guards.texts import TextKind
from tests.unit.router.asks import ask
from tests.unit.router.guards.watching import BLOCK, IBAN, POLICY, REDACT, Watcher, asked, guard, guarded, texts

CARD = "4111 1111 1111 1111"


async def refusal(given: Ask, policy: GuardPolicy = POLICY, watcher: Watcher | None = None) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await guard(policy, watcher=watcher).question(given)
    return caught.value


async def test_what_is_redacted_is_replaced_the_same_way_throughout() -> None:
    found = await guarded("from ann@x.com to bob@x.com", "bob@x.com at 415-555-2671, ann@x.com")
    assert texts(found.ask.question) == ["from <EMAIL_1> to <EMAIL_2>", "<EMAIL_2> at <PHONE_1>, <EMAIL_1>"]


async def test_a_question_without_findings_is_the_very_same() -> None:
    given = asked("What is the capital of France?")
    assert (await guard().question(given)).ask is given


async def test_a_placeholder_that_the_caller_wrote_stays_its_own() -> None:
    found = await guarded("<EMAIL_1> is what I call ann@x.com", "and <EMAIL_3>, bob@x.com, eve@x.com")
    assert texts(found.ask.question) == ["<EMAIL_1> is what I call <EMAIL_2>", "and <EMAIL_3>, <EMAIL_4>, <EMAIL_5>"]


async def test_a_refusal_names_every_rule_and_field_and_nothing_of_the_content() -> None:
    policy = replace(POLICY, input={Pii.CARD: BLOCK, Pii.IBAN: BLOCK}, patterns=(Pattern("falcon", "falcon"),))
    error = await refusal(asked(f"{CARD} {CARD} {IBAN}", "falcon"), policy)
    assert error.reason is Reason.CONTENT_REFUSED
    assert error.metadata == {"rule": "pii.card"}
    place = "request.conversation.messages"
    assert [(each.field, each.description) for each in error.fields] == [
        (f"{place}[0].parts[0].text", "holds what the rule pii.card refuses"),
        (f"{place}[0].parts[0].text", "holds what the rule pii.iban refuses"),
        (f"{place}[1].parts[0].text", "holds what the rule pattern.falcon refuses"),
    ]
    assert not {"4111", IBAN[4:8]} & set(f"{error} {error.fields}".split())


def everything(content: str) -> list[tuple[str, Ask]]:
    """The content in each field that an engine sees, alone."""
    given = ask()

    def conversation(message: Message) -> Ask:
        return replace(given, question=replace(given.question, prompt=Conversation((message,))))

    def question(**changes: object) -> Ask:
        return replace(given, question=replace(given.question, **changes))  # type: ignore[arg-type]

    place = "conversation.messages[0].parts[0]"
    call = ToolCall("1", "send", f'{{"to": "{content}"}}')
    schema = f'{{"const": "{content}"}}'
    return [
        *((f"{place}.text", conversation(Message(role, (Text(content),)))) for role in Role if role is not Role.TOOL),
        (f"{place}.tool_call.arguments_json", conversation(Message(Role.ASSISTANT, (call,)))),
        (f"{place}.tool_call.id", conversation(Message(Role.ASSISTANT, (ToolCall(content, "send", "{}"),)))),
        (f"{place}.tool_result.content", conversation(Message(Role.TOOL, (ToolResult("1", content),)))),
        (f"{place}.tool_result.tool_call_id", conversation(Message(Role.TOOL, (ToolResult(content, ""),)))),
        ("prompt", question(prompt=content)),
        ("tools[0].description", question(tools=(Tool("send", content, "{}"),))),
        ("tools[0].parameters_json_schema", question(tools=(Tool("send", "", schema),))),
        ("sampling.stop[0]", question(sampling=Sampling(stop=(content,)))),
        ("response_format.json_schema", question(response_format=JsonSchema(schema))),
        ("response_format.regex", question(response_format=Regex(content))),
        ("response_format.grammar", question(response_format=Grammar(content))),
    ]


@pytest.mark.parametrize(("field", "given"), everything(CARD))
async def test_every_text_that_an_engine_sees_is_looked_through(field: str, given: Ask) -> None:
    assert [each.field for each in (await refusal(given)).fields] == [f"request.{field}"]


@pytest.mark.parametrize(("field", "given"), everything("ann@x.com"))
async def test_every_text_that_an_engine_sees_is_redacted(field: str, given: Ask) -> None:
    found = str((await guard().question(given)).ask.question)
    assert "ann@x.com" not in found, field
    assert "<EMAIL_1>" in found


@pytest.mark.parametrize("name", ["4111-1111-1111-1111", "415-555-2671"])
async def test_a_tools_name_cannot_be_rewritten_so_it_is_refused(name: str) -> None:
    tools = replace(ask().question, tools=(Tool(name, "", "{}"),))
    watcher = Watcher()
    error = await refusal(replace(ask(), question=tools), watcher=watcher)
    assert [each.field for each in error.fields] == ["request.tools[0].name"]
    assert [action for _, _, action in watcher.verdicts] == [BLOCK]


async def test_an_escape_in_json_gets_nothing_past() -> None:
    escaped = r'{"to": "ann\u0040x.com", "n": "\n\u0062ob@x.com"}'
    parts = (ToolResult("1", escaped),)
    given = replace(ask(), question=replace(ask().question, prompt=Conversation((Message(Role.TOOL, parts),))))
    found = (await guard().question(given)).ask.question
    assert r'{"to": "<EMAIL_1>", "n": "\n<EMAIL_2>"}' in repr(found.prompt).replace(r"\\", "\\")


async def test_verdicts_are_told_as_they_fell() -> None:
    watcher = Watcher()
    await guard(watcher=watcher).question(asked("ann@x.com 415-555-2671"))
    assert watcher.verdicts == [(Direction.INPUT, "pii.email", REDACT), (Direction.INPUT, "pii.phone", REDACT)]
    assert watcher.closed == [Direction.INPUT]


async def test_likelihoods_of_tokens_are_refused_where_answers_are_guarded() -> None:
    error = await refusal(asked("hello", sampling=Sampling(top_logprobs=3)))
    assert error.reason is Reason.INVALID_REQUEST
    assert error.fields[0].field == "request.sampling.top_logprobs"
    await refusal(asked("hello", sampling=Sampling(top_logprobs=3)), replace(POLICY, output={}))
    policy = replace(POLICY, output={}, restore=False)
    await guard(policy).question(asked("hello", sampling=Sampling(top_logprobs=3)))


@pytest.mark.parametrize(
    ("policy", "said", "is_guarded"),
    [
        (GuardPolicy(), "ann@x.com", False),
        (replace(POLICY, output={}), "hello", False),
        (replace(POLICY, output={}), "ann@x.com", True),
        (replace(POLICY, output={}, restore=False), "ann@x.com", False),
        (POLICY, "hello", True),
    ],
)
async def test_an_answer_without_anything_to_do_for_a_guard_has_none(
    policy: GuardPolicy, said: str, *, is_guarded: bool
) -> None:
    found = await guarded(said, policy=policy)
    assert isinstance(found.answer, Unguarded) is not is_guarded


async def test_a_pattern_that_explodes_refuses_the_question() -> None:
    explosive = Pattern("explosive", "(?:a{0,2}){0,31}b")
    watcher = Watcher()
    error = await refusal(asked("a" * 64 + " b"), GuardPolicy(patterns=(explosive,)), watcher)
    assert error.metadata == {"rule": TIME_LIMIT}
    assert watcher.verdicts == [(Direction.INPUT, TIME_LIMIT, Action.BLOCK)]


@pytest.mark.parametrize("kind", [TextKind.PLAIN, TextKind.JSON])
async def test_a_long_question_is_read_looked_through_and_written_beside_the_event_loop(
    kind: TextKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[int]()
    for name in ("scan", "redacted"):
        monkeypatch.setattr(QuestionText, name, told_of(threads, getattr(QuestionText, name)))
    monkeypatch.setattr(Json, "read", told_of(threads, Json.read))
    long = '["' + "word " * 10_000 + 'ann@x.com"]'
    schema = JsonSchema(long) if kind is TextKind.JSON else None
    found = (await guard().question(asked("hello" if schema else long, response_format=schema))).ask.question
    written = found.response_format.schema if isinstance(found.response_format, JsonSchema) else texts(found)[0]
    assert written.endswith('word <EMAIL_1>"]')
    assert threads
    assert threading.get_ident() not in threads


def told_of(threads: set[int], method: Callable[..., Any]) -> Callable[..., Any]:
    def told(*given: Any, **named: Any) -> Any:
        threads.add(threading.get_ident())
        return method(*given, **named)

    return told


async def test_what_blocks_comes_before_what_redacts_at_one_place() -> None:
    policy = GuardPolicy(input={Pii.EMAIL: BLOCK}, patterns=(Pattern("ann", "ann@x", input=REDACT),))
    assert (await refusal(asked("ann@x.com"), policy)).metadata == {"rule": "pii.email"}
    assert texts((await guarded("ann@x", policy=policy)).ask.question) == ["<PATTERN_ANN_1>"]
