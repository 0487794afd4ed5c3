"""Reading a configuration: what the file says, what the environment overrides, what is never repeated."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from libs.settings.document import LARGEST_FILE_BYTES, SettingsError, load, read
from libs.settings.schema import micro_usd
from tests.unit.settings.documents import VALID, added, refusal, spoilt, written

HASH_OF_DIGITS = "1" * 64


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file() -> None:
    text = VALID.replace("tier: small", "tier: tiny").replace("[all]", "[]") + "    quota: 1\nservises: {}\n"
    assert refusal(text).splitlines() == [
        "mesh.yaml:3:11: models[0].tier: 'tiny' is not allowed; give 'small', 'medium', 'large' or 'frontier'",
        "mesh.yaml:4:19: models[0].capabilities: holds 0; the least is 1",
        (
            "mesh.yaml:12:5: organisations[0].quota: is not a field; allowed: name, keys, budgets, open_when_away, "
            "cache, guards"
        ),
        "mesh.yaml:13:1: servises: is not a field; did you mean services?",
    ]


def test_a_bad_field_hides_no_mistake_that_takes_two_fields_to_see() -> None:
    text = "services: {router: {listen: '0.0.0.0:50051', max_prompt_bites: 1, retry_wait_min_seconds: 11}}"
    assert [line.split(": ")[1] for line in added(text).splitlines()] == [
        "services.router.listen",
        "services.router.max_prompt_bites",
        "services.router.retry_wait_min_seconds",
    ]


def test_a_scalar_is_the_text_that_was_written() -> None:
    settings = written(
        f"    keys: [{{id: no, sha256: {HASH_OF_DIGITS}, user: 0x10, team: 1.10, expires_at: 2027-01-31T00:00:00Z}}]"
    )
    (key,) = settings.organisations[0].keys
    assert (key.id, key.sha256, key.user, key.team) == ("no", HASH_OF_DIGITS, "0x10", "1.10")
    assert str(key.expires_at) == "2027-01-31 00:00:00+00:00"


def test_money_never_passes_through_a_float() -> None:
    text = VALID.replace("input_usd_per_million_tokens: 0.2,", "input_usd_per_million_tokens: 999999.123457,")
    assert text != VALID
    price = read(text, name="mesh.yaml", environment={}).models[0].price
    assert price.input_usd_per_million_tokens == Decimal("999999.123457")
    assert micro_usd(price.input_usd_per_million_tokens) == 999_999_123_457


def test_an_empty_section_is_an_absent_one() -> None:
    assert written("services:\n  router:\n    # listen: 0.0.0.0:1\nstores:\n") == written()


def test_an_anchor_may_be_used_again() -> None:
    settings = written("  - name: b\n    cache: &policy {ttl_seconds: 60}\n  - name: c\n    cache: *policy\n")
    assert settings.organisations[2].cache.ttl_seconds == 60


def test_the_environment_overrides_the_address_of_redis() -> None:
    settings = written("stores: {redis_url: embedded}", environment={"REDIS_URL": "redis://db:1"})
    assert settings.stores.redis_url == "redis://db:1"


def test_an_empty_variable_overrides_nothing() -> None:
    assert written(environment={"REDIS_URL": ""}).stores.redis_url == "embedded"


def test_a_bad_variable_is_named_without_its_password() -> None:
    text = refusal(VALID, environment={"REDIS_URL": "http://me:hunter2@db"})
    assert text == (
        "environment: REDIS_URL: 'http://…@db' is not allowed; give 'embedded', or an address that starts with "
        "redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://"
    )


def test_a_cluster_in_the_environment_needs_a_server_for_the_cache() -> None:
    cluster, server = {"REDIS_URL": "redis+cluster://a:1"}, {"REDIS_URL": "redis://a:1"}

    assert "stores.cache_redis_url: the cache takes one server and no cluster" in refusal(VALID, environment=cluster)
    beside = VALID + "stores: {cache_redis_url: 'redis://b:1'}"
    assert read(beside, name="mesh.yaml", environment=cluster).stores.cache_redis_url == "redis://b:1"
    over = VALID + "stores: {redis_url: 'redis+cluster://a:1'}"
    assert read(over, name="mesh.yaml", environment=server).stores.redis_url == "redis://a:1"


@pytest.mark.parametrize(
    "secret",
    [
        "stores: {redis_url: 'http://me:hunter2@db'}",
        "stores: {redis_url: 'hunter2@db'}",
        "stores: {redis_url: 'htp://db?password=hunter2'}",
        "    keys: [{id: ci, sha256: hunter2}]",
        "    keys: [{id: ci, key: hunter2}]",
        "    keys: [{id: sk-hunter2hunter2hunter2hunter2}]",
        "sk-hunter2hunter2hunter2hunter2: 1",
        "sk-hunter2hunter2hunter2hunter2: {a: 1}",
        "mesh_token: hunter2",
        "telemetry: {otlp_endpoint: 'me:hunter2@otel'}",
        "telemetry: {otlp_headers: 'authorization=hunter2'}",
        "telemetry: {otlp_headers_env: 'authorization=Bearer hunter2'}",
    ],
)
def test_a_secret_is_never_repeated(secret: str) -> None:
    assert "hunter2" not in added(secret)


def test_a_long_value_is_cut() -> None:
    assert len(spoilt("tier: small", f"tier: {'x' * 10_000}")) < 250


def test_a_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(VALID.replace("tier: small", "tier: tiny"))
    with pytest.raises(SettingsError, match=rf"^{path}:3:11: models\[0\]\.tier: 'tiny'"):
        load(path, environment={})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file or directory$"):
        load(tmp_path / "none.yaml", environment={})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r": cannot be read: Is a directory$"):
        load(tmp_path, environment={})


def test_text_in_another_encoding_is_placed(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(SettingsError, match=r"latin\.yaml:2:1: is not UTF-8$"):
        load(tmp_path / "latin.yaml", environment={})


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(SettingsError, match=r"has 4194305 bytes; the most is 4194304$"):
        load(tmp_path / "huge.yaml", environment={})
