"""The models that this machine runs: their files, and the keys of providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs import minilm
from libs.minilm import encoder_folder
from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.weights import defects, size_bytes

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder, and whether `make model` makes it."""

    folder: Path
    is_default: bool
    # Random weights: nothing but the configuration is read.
    is_dummy: bool = False


def check(patient: Patient) -> InThread:
    weights = {
        name: Weights(patient.model_folder(each), each.model_path == "default", each.load_format == "dummy")
        for name, each in patient.vllm_engines().items()
    }
    engines = ((each.name, each.engine) for each in patient.replicas())
    keys = {
        name: engine.api_key_env
        for name, engine in engines
        if engine is not None and engine.kind == "openai" and engine.api_key_env
    }
    organisations = patient.settings.organisations if patient.settings else ()
    encoder = encoder_folder(patient.environment) if any(each.cache.is_semantic for each in organisations) else None
    return InThread(Models(weights=weights, key_variables=keys, environment=patient.environment, encoder=encoder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """`key_variables`: in which variable the key of a model's provider is; `encoder`: None where nobody needs it."""

    name: ClassVar[str] = "models"
    limit_seconds: ClassVar[float] = 10
    weights: Mapping[str, Weights]
    key_variables: Mapping[str, str]
    environment: Mapping[str, str]
    encoder: Path | None = None

    def findings(self) -> Iterator[Finding]:
        if not self.weights and not self.key_variables and self.encoder is None:
            yield skipped("files", "no model of the configuration needs files or keys here")
        for name, weights in self.weights.items():
            yield _whole(name, weights)
        for name, variable in self.key_variables.items():
            yield self._key(name, variable)
        if self.encoder is not None:
            yield _encoder(self.encoder)

    def _key(self, name: str, variable: str) -> Finding:
        if self.environment.get(variable, "").strip():
            return ok(name, f"the provider's key is in {variable}")
        # The mesh that runs may have it where this command does not.
        says = f"{variable}, which is to hold the provider's key, is not set here"
        return warning(name, says, cure=f"export {variable}=…, where the mesh is started")


def _encoder(folder: Path) -> Finding:
    found = list(minilm.defects(folder))
    if not found:
        return ok("encoder of the cache", f"{folder}: whole")
    cure = f"rm -rf {folder} && make model" if folder.exists() else "make model"
    return wrong("encoder of the cache", "; ".join(found), cure=cure)


def _whole(name: str, weights: Weights) -> Finding:
    found = [each for each in defects(weights.folder) if not weights.is_dummy or "config.json" in each]
    if not found:
        return ok(name, f"{weights.folder}: whole, {size_bytes(weights.folder) / _MIB:,.0f} MiB of weights")
    if not weights.is_default:
        return wrong(name, "; ".join(found), cure=f"fetch the model again, whole, into {weights.folder}")
    # `make model` leaves a folder alone that is there.
    cure = f"rm -rf {weights.folder} && make model" if weights.folder.exists() else "make model"
    return wrong(name, "; ".join(found), cure=cure)
