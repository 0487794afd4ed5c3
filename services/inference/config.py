"""What an inference process is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from libs.errors import Reason, TokenwayError
from libs.settings.schema import Engine, Model, Settings, VllmEngine

# Set by whoever has prepared the default model: `make model` prints the folder.
DEFAULT_MODEL_VARIABLE = "TOKENWAY_DEFAULT_MODEL"


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """One replica of one model. The engine's own settings are the configuration file's."""

    model: Model
    engine: Engine
    listen: str
    metrics_listen: str
    drain_seconds: float

    @classmethod
    def from_settings(
        cls, settings: Settings, *, model: str, replica: str = "0", environment: Mapping[str, str] = os.environ
    ) -> Self:
        """Model and replica as on the command line; replicas count from 0, an endpoint each.

        INVALID_REQUEST says which model, replica or path cannot be had, and what to do.
        """
        described = _model(settings, model)
        if described.engine is None:
            raise _refused(f"models: {model} has no engine, so it runs elsewhere; give it one to run it here")
        if replica not in map(str, range(len(described.endpoints))):
            last = len(described.endpoints) - 1
            raise _refused(f"models: {model} has replicas 0 to {last}, not {replica}; add an endpoint for it")
        return cls(
            model=described,
            engine=_with_path(described.engine, environment),
            listen=described.endpoints[int(replica)],
            metrics_listen=described.metrics,
            drain_seconds=described.drain_seconds,
        )


def _model(settings: Settings, name: str) -> Model:
    for model in settings.models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in settings.models)
    raise _refused(f"models: there is no {name}; the file has {known}")


def _with_path(engine: Engine, environment: Mapping[str, str]) -> Engine:
    if not isinstance(engine, VllmEngine) or engine.model_path != "default":
        return engine
    path = environment.get(DEFAULT_MODEL_VARIABLE, "")
    if not path:
        raise _refused(
            f"model_path is `default`, and {DEFAULT_MODEL_VARIABLE} does not say where that model is: "
            f"run `make model` and set {DEFAULT_MODEL_VARIABLE} to the folder that it prints"
        )
    return engine.model_copy(update={"model_path": path})


def _refused(message: str) -> TokenwayError:
    return TokenwayError(Reason.INVALID_REQUEST, message)
