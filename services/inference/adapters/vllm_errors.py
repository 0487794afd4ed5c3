"""vLLM's exceptions, in our terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request

# Enough to say which rule a schema or a grammar breaks; vLLM may quote the whole of it.
_MAX_MESSAGE = 300


class VllmErrors:
    """Knows the exceptions of the installed version."""

    def __init__(self, *, model: str) -> None:
        from vllm import exceptions
        from vllm.v1.engine.exceptions import EngineDeadError

        self._model = model
        self._dead = EngineDeadError
        # VLLMClientError came after 0.26, which raises ValueErrors.
        self._refused = (getattr(exceptions, "VLLMClientError", ValueError), ValueError)
        overflow = (getattr(exceptions, name, None) for name in ("QueueOverflowError", "MaxQueuedTokensError"))
        self._overflow = tuple(each for each in overflow if each is not None)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """ENGINE_DEAD, QUEUE_FULL or INVALID_REQUEST for what vLLM means by them; the rest passes as it is."""
        try:
            yield
        except TokenwayError:
            raise
        except self._dead as error:
            raise self.engine_dead() from error
        except self._overflow as error:
            raise self.queue_full() from error
        except self._refused as error:
            message = f"the engine refuses it: {' '.join(str(error).split())[:_MAX_MESSAGE]}"
            raise invalid_request(FieldViolation("input", message)) from error

    def engine_dead(self) -> TokenwayError:
        return TokenwayError(
            Reason.ENGINE_DEAD,
            f"the engine of {self._model} died; its process ends and has to be started again: ask another replica",
            {"model": self._model},
        )

    def queue_full(self) -> TokenwayError:
        return TokenwayError(
            Reason.QUEUE_FULL,
            f"{self._model} has as many requests waiting as it may: ask another replica, or later",
            {"model": self._model},
            retry_after_seconds=1.0,
        )
