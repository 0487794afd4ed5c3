"""From a question to the token ids that vLLM continues."""

from __future__ import annotations

from typing import Any

from libs.errors import FieldViolation, invalid_request
from libs.generation.question import (
    Conversation,
    Image,
    Question,
    Tool,
    ToolMode,
)
from services.inference.adapters.chat_messages import chat_messages, chat_tool


class VllmPrompts:
    """Uses the model's own tokenizer and chat template, by vLLM's renderer."""

    def __init__(self, renderer: Any) -> None:
        from vllm.renderers import ChatParams, TokenizeParams

        self._renderer = renderer
        self._chat_params = ChatParams
        # No limits: so that a prompt that is too long is counted to its end. Templates set special tokens themselves.
        self._of_template = TokenizeParams(max_total_tokens=None, add_special_tokens=False)
        self._of_prompt = TokenizeParams(max_total_tokens=None, add_special_tokens=True)

    async def token_ids(self, question: Question) -> list[int]:
        """INVALID_REQUEST for what this engine cannot do."""
        _refuse_unable(question)
        if isinstance(question.prompt, str):
            (prompt,) = await self._renderer.render_cmpl_async([{"prompt": question.prompt}], self._of_prompt)
        else:
            prompt = await self._of_conversation(question.prompt, question.tools)
        ids: list[int] = prompt["prompt_token_ids"]
        return ids

    async def _of_conversation(self, conversation: Conversation, tools: tuple[Tool, ...]) -> Any:
        messages = [each for message in conversation.messages for each in chat_messages(message)]
        template = {"add_generation_prompt": True, "tools": [chat_tool(tool) for tool in tools] or None}
        params = self._chat_params(chat_template_kwargs=template)
        _, (prompt,) = await self._renderer.render_chat_async([messages], params, self._of_template)
        return prompt


def _refuse_unable(question: Question) -> None:
    """Tool calls are parsed by rules of each model, which vLLM has to be told by name; that is not configured yet."""
    if question.tools and question.tool_choice.mode is not ToolMode.NONE:
        raise invalid_request(
            FieldViolation("input.tools", "this model calls no tools here: send none, or MODE_NONE as tool_choice")
        )
    if isinstance(question.prompt, Conversation):
        parts = (part for message in question.prompt.messages for part in message.parts)
        if any(isinstance(part, Image) for part in parts):
            raise invalid_request(
                FieldViolation("input.conversation", "has an image, and this model reads text alone: leave it out")
            )
