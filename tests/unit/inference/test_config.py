"""What an inference process takes from the configuration, and what it refuses to start with."""

from __future__ import annotations

from decimal import Decimal

import pytest

from libs.errors import TokenwayError
from libs.settings.schema import Model, Organisation, Price, ScriptedEngine, Settings, VllmEngine
from services.inference.config import InferenceConfig


def model(name: str, engine: VllmEngine | ScriptedEngine | None) -> Model:
    return Model(
        name=name,
        tier="small",
        capabilities=("all",),
        context_window_tokens=4_096,
        p99_latency_seconds=2,
        price=Price(input_usd_per_million_tokens=Decimal(1), output_usd_per_million_tokens=Decimal(2)),
        endpoints=("127.0.0.1:7001", "127.0.0.1:7002"),
        metrics="127.0.0.1:9001",
        drain_seconds=5,
        engine=engine,
    )


SETTINGS = Settings(
    models=(
        model("scripted", ScriptedEngine(kind="scripted")),
        model("default", VllmEngine(kind="vllm")),
        model("folder", VllmEngine(kind="vllm", model_path="/models/mine")),
        model("elsewhere", None),
    ),
    organisations=(Organisation(name="acme"),),
)


def path(name: str, environment: dict[str, str]) -> str:
    engine = InferenceConfig.from_settings(SETTINGS, model=name, environment=environment).engine
    assert isinstance(engine, VllmEngine)
    return engine.model_path


def test_a_replica_listens_on_its_own_endpoint() -> None:
    config = InferenceConfig.from_settings(SETTINGS, model="scripted", replica="1", environment={})
    assert (config.listen, config.metrics_listen, config.drain_seconds) == ("127.0.0.1:7002", "127.0.0.1:9001", 5)
    assert config.model.name == "scripted"


def test_the_default_model_is_where_the_environment_says() -> None:
    assert path("default", {"TOKENWAY_DEFAULT_MODEL": "/cache/smollm2"}) == "/cache/smollm2"


def test_a_folder_of_ones_own_stays() -> None:
    assert path("folder", {"TOKENWAY_DEFAULT_MODEL": "/cache/smollm2"}) == "/models/mine"


@pytest.mark.parametrize(
    ("name", "replica", "message"),
    [
        ("huge", "0", "there is no huge; the file has scripted, default, folder, elsewhere"),
        ("elsewhere", "0", "elsewhere has no engine, so it runs elsewhere"),
        ("scripted", "2", "scripted has replicas 0 to 1, not 2"),
        ("scripted", "-1", "scripted has replicas 0 to 1, not -1"),
        ("scripted", "one", "scripted has replicas 0 to 1, not one"),
        ("default", "0", "run `make model` and set TOKENWAY_DEFAULT_MODEL"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(name: str, replica: str, message: str) -> None:
    with pytest.raises(TokenwayError) as refused:
        InferenceConfig.from_settings(SETTINGS, model=name, replica=replica, environment={})
    assert message in refused.value.message
