"""What is examined: a configuration and the state directory of the mesh that has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from libs.address import is_local
from services.mesh.state_directory import RunningMesh, StateDirectory

if TYPE_CHECKING:
    from libs.settings.schema import Model, Settings, VllmEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """`settings` are None where the configuration is refused; `mistakes` then say why.

    `running` is the mesh that runs in the state directory, whose `effective.yaml` is the file, unless another is named.
    """

    file: Path
    state: StateDirectory
    environment: Mapping[str, str]
    default_model: Path
    settings: Settings | None = None
    mistakes: tuple[str, ...] = ()
    running: RunningMesh | None = None

    def replicas(self) -> dict[Model, int]:
        """The models that this machine runs an engine for, and how often: those with an address on it."""
        models = self.settings.models if self.settings else ()
        here = {each: sum(map(is_local, each.endpoints)) for each in models if each.engine is not None}
        return {model: count for model, count in here.items() if count}

    def vllm_engines(self) -> dict[str, VllmEngine]:
        """Those of vLLM among them, by the name of their model."""
        return {
            each.name: each.engine for each in self.replicas() if each.engine is not None and each.engine.kind == "vllm"
        }

    def model_folder(self, engine: VllmEngine) -> Path:
        """Where its weights are."""
        return self.default_model if engine.model_path == "default" else Path(engine.model_path)


def admitted(
    *, file: Path | None, default: Path, state: StateDirectory, environment: Mapping[str, str], default_model: Path
) -> Patient:
    """Reads the configuration: the file, else that of the mesh that runs, else the default. Blocks as they do."""
    running = state.running()
    chosen = file or (state.configuration_file if running else default)
    settings, mistakes = _loaded(chosen, environment)
    return Patient(
        file=chosen,
        state=state,
        environment=environment,
        default_model=default_model,
        settings=settings,
        mistakes=mistakes,
        running=running,
    )


def _loaded(file: Path, environment: Mapping[str, str]) -> tuple[Settings | None, tuple[str, ...]]:
    try:
        from libs.settings.document import SettingsError, load  # noqa: PLC0415 - pydantic may be what is missing
    except ImportError as error:
        return None, (f"{file}: cannot be read without the package {error.name}",)
    try:
        return load(file, environment=environment), ()
    except SettingsError as error:
        return None, tuple(str(each) for each in error.mistakes)
