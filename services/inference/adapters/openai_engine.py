"""A model that others host, behind OpenAI's API over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager

import aiohttp

from libs.clock import Clock, SystemClock
from libs.errors import TokenwayError
from libs.generation.question import Question
from libs.settings.schema import OpenAiEngine as OpenAiSettings
from services.inference.adapters.openai_answer import OpenAiAnswer
from services.inference.adapters.openai_errors import ProviderErrors
from services.inference.adapters.openai_events import MalformedError
from services.inference.adapters.openai_http import OpenAiHttp, Patience
from services.inference.adapters.openai_key import authorization
from services.inference.adapters.openai_request import OpenAiRequests, estimated_tokens
from services.inference.adapters.turns import Life, Turns
from services.inference.domain.answer import Event
from services.inference.domain.load import Load, Occupancy
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineInfo


class OpenAiEngine:
    """Passes the engines' contract, apart from what takes the provider's tokenizer: its counts are estimates.

    At most `max_num_seqs` requests are at the provider at once; the others wait here, by priority. Leaving an answer
    closes its connection. Nothing is tried twice: the router does that. It never dies, for a provider that is away may
    come back. Trace headers stay here: the provider is not of the mesh.
    """

    def __init__(
        self,
        settings: OpenAiSettings,
        *,
        model: str,
        environment: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        headers = authorization(settings, environment)
        self._settings = settings
        self._model = model
        self._requests = OpenAiRequests(settings)
        self._errors = ProviderErrors(
            model=model, context_window_tokens=settings.max_model_len, clock=clock or SystemClock()
        )
        self._http = OpenAiHttp(settings, headers=headers, errors=self._errors)
        self._life = Life()
        self._turns = Turns(limit=settings.max_num_seqs, life=self._life)
        # How full the provider's cache is nobody says, so it counts as empty.
        self._occupancy = Occupancy(max_sequences=settings.max_num_seqs, kv_cache_tokens=1)
        self.info = EngineInfo("openai", "1", settings.max_model_len, settings.max_num_seqs)

    @property
    def death(self) -> asyncio.Future[TokenwayError]:
        return self._life.death

    async def count_tokens(self, question: Question) -> int:
        return estimated_tokens(question)

    def load(self) -> Load:
        return self._occupancy.load()

    async def load_change(self) -> None:
        await self._occupancy.change()

    async def close(self) -> None:
        await self._http.close()

    async def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        body = self._requests.body(request.question)
        input_tokens = estimated_tokens(request.question)
        answer = OpenAiAnswer(
            model=self._model,
            estimated_input_tokens=input_tokens,
            max_tokens=request.question.sampling.max_tokens,
            errors=self._errors,
        )
        with self._occupancy.holding():
            async with self._turns.turn(request.priority):
                patience = self._patience()
                received = self._http.answer(body, patience=patience, input_tokens=input_tokens)
                async with aclosing(received), aclosing(self._events(received, answer, patience)) as events:
                    async for event in events:
                        yield event

    async def _events(
        self, received: AsyncGenerator[str], answer: OpenAiAnswer, patience: Patience
    ) -> AsyncGenerator[Event]:
        with self._translated(answer):
            async for data in received:
                for event in answer.events(data):
                    yield event
                    patience.renew()
                if answer.done:
                    return
        raise self._errors.broken("its provider ended the stream without its last mark")

    def _patience(self) -> Patience:
        return Patience(
            first_token_seconds=self._settings.first_token_seconds, idle_seconds=self._settings.idle_seconds
        )

    @contextmanager
    def _translated(self, answer: OpenAiAnswer) -> Iterator[None]:
        """The library's errors hold the request's headers, our key among them: none of them is a cause here."""
        try:
            yield
        except MalformedError as error:
            raise self._errors.broken(str(error)) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._errors.unavailable(f"its provider cannot be reached ({type(error).__name__})") from None
        except TimeoutError:
            raise self._silent(answer) from None
        except aiohttp.ClientError as error:
            why = f"the connection to its provider broke ({type(error).__name__})"
            raise (self._errors.broken(why) if answer.started else self._errors.unavailable(why)) from None

    def _silent(self, answer: OpenAiAnswer) -> TokenwayError:
        if answer.started:
            return self._errors.broken(f"its provider said nothing for {self._settings.idle_seconds:g} s")
        limit = self._settings.first_token_seconds
        return self._errors.unavailable(f"its provider gave no first token within {limit:g} s")
