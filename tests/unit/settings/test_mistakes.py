"""Every mistake has a place, says what is wrong, the value, and what is allowed."""

from __future__ import annotations

import pytest

from libs.settings.schema import VllmEngine
from tests.unit.settings.documents import VALID, added, refusal, spoilt

KEY = "tw_" + "Ab3-_" * 9
HASH = "ab" * 32
PROVIDER = "kind: openai, model: m"
ADVICE = 'the file never holds a key itself, only its SHA-256, which this prints: printf %s "$KEY" | sha256sum'

REPLACED = {
    "an unknown field, and the one that was meant": (
        ("tier: small", "teir: small"),
        "mesh.yaml:2:5: models[0].tier: is missing\nmesh.yaml:3:5: models[0].teir: is not a field; did you mean tier?",
    ),
    "an unknown field that resembles nothing": (
        ("{kind: scripted}", "{kind: scripted, zzz: 1}"),
        (
            "mesh.yaml:9:30: models[0].engine.zzz: is not a field; allowed: kind, tokens_per_second, "
            "first_token_seconds, answer_tokens, max_model_len, max_num_seqs, made_tokens_file, allow_directives"
        ),
    ),
    "a field of another kind of engine": (
        ("{kind: scripted}", "{kind: vllm, answer_tokens: 3}"),
        "mesh.yaml:9:26: models[0].engine.answer_tokens: is not a field; allowed: "
        + ", ".join(VllmEngine.model_fields),
    ),
    "a kind of engine that is not known": (
        ("{kind: scripted}", "{kind: tgi}"),
        "mesh.yaml:9:13: models[0].engine: kind 'tgi' is not known; give 'vllm', 'scripted', 'openai'",
    ),
    "an engine without a kind": (
        ("{kind: scripted}", "{max_num_seqs: 1}"),
        "mesh.yaml:9:13: models[0].engine: has no kind; give kind: vllm, kind: scripted or kind: openai",
    ),
    "a word out of a list": (
        ("tier: small", "tier: tiny"),
        "mesh.yaml:3:11: models[0].tier: 'tiny' is not allowed; give 'small', 'medium', 'large' or 'frontier'",
    ),
    "a number that is too small": (
        ("context_window_tokens: 4096", "context_window_tokens: 15"),
        "mesh.yaml:5:28: models[0].context_window_tokens: '15' is too small; the least is 16",
    ),
    "a number that is too large": (
        ("context_window_tokens: 4096", "context_window_tokens: 10000001"),
        "mesh.yaml:5:28: models[0].context_window_tokens: '10000001' is too large; the most is 10,000,000",
    ),
    "a number on the border that it must not touch": (
        ("p99_latency_seconds: 1", "p99_latency_seconds: 0"),
        "mesh.yaml:6:26: models[0].p99_latency_seconds: '0' is too small; it must be more than 0",
    ),
    "a number that is not one": (
        ("p99_latency_seconds: 1", "p99_latency_seconds: .nan"),
        "mesh.yaml:6:26: models[0].p99_latency_seconds: '.nan' is not a number",
    ),
    "a whole number that is not whole": (
        ("context_window_tokens: 4096", "context_window_tokens: 4096.5"),
        "mesh.yaml:5:28: models[0].context_window_tokens: '4096.5' is not a whole number",
    ),
    "an amount below a micro-dollar": (
        ("{input_usd_per_million_tokens: 0.2", "{input_usd_per_million_tokens: 0.0000002"),
        (
            "mesh.yaml:7:43: models[0].price.input_usd_per_million_tokens: 2E-7 US dollars is not a whole number of "
            "micro-dollars; give at most 6 decimals"
        ),
    ),
    "an amount that is not one": (
        ("{input_usd_per_million_tokens: 0.2", "{input_usd_per_million_tokens: $2"),
        (
            "mesh.yaml:7:43: models[0].price.input_usd_per_million_tokens: '$2' is not an amount; "
            "give a number such as 0.25"
        ),
    ),
    "a text where a mapping belongs": (
        ("engine: {kind: scripted}", "engine: scripted"),
        "mesh.yaml:9:13: models[0].engine: is 'scripted'; give a mapping of fields",
    ),
    "a text where a list belongs": (
        ("capabilities: [all]", "capabilities: all"),
        "mesh.yaml:4:19: models[0].capabilities: is 'all'; give a list",
    ),
    "a list where a text belongs": (
        ("- name: acme", "- name: [acme]"),
        "mesh.yaml:11:11: organisations[0].name: is a list; give text",
    ),
    "an empty list": (
        ("capabilities: [all]", "capabilities: []"),
        "mesh.yaml:4:19: models[0].capabilities: holds 0; the least is 1",
    ),
    "a name with a blank": (
        ("- name: acme", "- name: acme inc"),
        (
            "mesh.yaml:11:11: organisations[0].name: 'acme inc' is not allowed; give letters, digits, '.', '_' and "
            "'-', at most 64, a letter or digit first"
        ),
    ),
    "an address without a port": (
        ('["127.0.0.1:50061"]', "[localhost]"),
        "mesh.yaml:8:17: models[0].endpoints[0]: 'localhost' is not allowed; give HOST:PORT, [IPV6]:PORT or unix:PATH",
    ),
    "a port that no machine has": (
        ('["127.0.0.1:50061"]', "[localhost:70000]"),
        "mesh.yaml:8:17: models[0].endpoints[0]: port 70000 is too large; the most is 65535, and 0 takes a free one",
    ),
    "an IPv6 address without brackets": (
        ('["127.0.0.1:50061"]', '["fe80::1:50061"]'),
        "mesh.yaml:8:17: models[0].endpoints[0]: write an IPv6 address in brackets: [fe80::1]:50061",
    ),
    "a socket whose path the kernel cannot hold": (
        ('["127.0.0.1:50061"]', f"[unix:/{'a' * 107}]"),
        "mesh.yaml:8:17: models[0].endpoints[0]: the path of the unix socket has 108 bytes; the most is 107",
    ),
    "a field that is there twice": (
        ("tier: small", "tier: small\n    tier: large"),
        "mesh.yaml:4:5: models[0].tier: is there twice, first at line 3; keep one",
    ),
    "a tag": (
        ("name: acme", "name: !!python/object:os.system acme"),
        (
            "mesh.yaml:11:11: organisations[0].name: the tag tag:yaml.org,2002:python/object:os.system is not read "
            "here; write the value without it"
        ),
    ),
    "an engine that is shorter than its model": (
        ("{kind: scripted}", "{kind: scripted, max_model_len: 1024}"),
        (
            "mesh.yaml:9:45: models[0].engine.max_model_len: the engine takes 1024 tokens, fewer than the model's "
            "context_window_tokens, 4096; raise max_model_len or lower context_window_tokens"
        ),
    ),
    "two sizes for one cache": (
        ("{kind: scripted}", "{kind: vllm, gpu_memory_utilization: 0.5, kv_cache_memory_bytes: 268435456}"),
        (
            "mesh.yaml:9:50: models[0].engine.gpu_memory_utilization: has no effect beside kv_cache_memory_bytes, "
            "which sets the size of the cache; keep one"
        ),
    ),
    "two keys for one provider": (
        ("{kind: scripted}", f"{{{PROVIDER}, base_url: https://x/v1, api_key_env: K, api_key_file: /k}}"),
        "mesh.yaml:9:92: models[0].engine.api_key_file: names a key beside api_key_env; keep one",
    ),
    "a provider's key that would travel in the clear": (
        ("{kind: scripted}", f"{{{PROVIDER}, base_url: http://api.example.com/v1}}"),
        (
            "mesh.yaml:9:48: models[0].engine.base_url: plain http:// would show the key and every prompt on the way: "
            "use https://, or loopback"
        ),
    ),
    "a provider's address with a password in it": (
        ("{kind: scripted}", f"{{{PROVIDER}, base_url: https://me:canary@api.example.com/v1}}"),
        (
            "mesh.yaml:9:48: models[0].engine.base_url: 'https://…@api.example.com/v1' is not allowed; give "
            "https://HOST/PATH, or http:// and a loopback address, without user, password, query and fragment"
        ),
    ),
    "a provider's key at the place of its variable": (
        ("{kind: scripted}", f"{{{PROVIDER}, base_url: https://x, api_key_env: sk-{'canary' * 5}}}"),
        f"mesh.yaml:9:72: models[0].engine.api_key_env: an API key does not belong here: {ADVICE}",
    ),
    "replicas that would share a metrics port": (
        ('endpoints: ["127.0.0.1:50061"]', "endpoints: [localhost:1, localhost:2]\n    metrics: localhost:3"),
        "mesh.yaml:9:14: models[0].metrics: 2 replicas on this machine cannot share localhost:3; give port 0",
    ),
    "a replica at the router's own address": (
        ('["127.0.0.1:50061"]', '["127.0.0.1:50051"]'),
        "mesh.yaml:8:17: models[0].endpoints[0]: the address 127.0.0.1:50051 is taken by services.router.listen",
    ),
    "a replica in the open": (
        ('["127.0.0.1:50061"]', '["10.0.0.1:50061"]'),
        (
            "mesh.yaml:8:17: models[0].endpoints[0]: 10.0.0.1:50061 can be reached from other machines, so it needs "
            "certificates: give mesh_tls, or use loopback"
        ),
    ),
}

ADDED = {
    "a router in the open": (
        "services: {router: {listen: '0.0.0.0:50051'}}",
        (
            "mesh.yaml:12:29: services.router.listen: 0.0.0.0:50051 can be reached from other machines, so it needs "
            "certificates: give services.router.tls, or use loopback"
        ),
    ),
    "a cache in the open": (
        "services: {cache: {listen: '0.0.0.0:50052'}}",
        (
            "mesh.yaml:12:28: services.cache.listen: 0.0.0.0:50052 can be reached from other machines, so it needs "
            "certificates: give mesh_tls, or use loopback"
        ),
    ),
    "waits that are out of order": (
        "services: {router: {retry_wait_min_seconds: 11}}",
        "mesh.yaml:12:45: services.router.retry_wait_min_seconds: 11 is more than retry_wait_max_seconds, 10",
    ),
    "a Redis of an unknown kind": (
        "stores: {redis_url: 'http://db'}",
        (
            "mesh.yaml:12:21: stores.redis_url: 'http://db' is not allowed; give 'embedded', or an address that starts "
            "with redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://"
        ),
    ),
    "a cluster for the cache too": (
        "stores: {redis_url: 'redis+cluster://a:1,b:1'}",
        "mesh.yaml:12:9: stores.cache_redis_url: the cache takes one server and no cluster: name one here",
    ),
    "a cluster for the cache alone": (
        "stores: {redis_url: 'redis://a:1', cache_redis_url: 'rediss+cluster://b:1'}",
        "mesh.yaml:12:53: stores.cache_redis_url: the cache takes one server and no cluster: name one here",
    ),
    "a truth that is none": (
        "  - {name: b, cache: {enabled: maybe}}",
        "mesh.yaml:12:32: organisations[1].cache.enabled: 'maybe' is neither true nor false",
    ),
    "a name that is taken": (
        "  - name: acme",
        "mesh.yaml:12:11: organisations[1].name: the name 'acme' is taken by organisations[0].name",
    ),
    "a key's id that is taken": (
        f"    keys: [{{id: ci, sha256: {HASH}}}, {{id: ci, sha256: {'cd' * 32}}}]",
        "mesh.yaml:12:101: organisations[0].keys[1].id: the id 'ci' is taken by organisations[0].keys[0].id",
    ),
    "a key of two principals": (
        f"    keys: [{{id: ci, sha256: {HASH}}}, {{id: cd, sha256: {HASH}}}]",
        "mesh.yaml:12:113: organisations[0].keys[1].sha256: is the same key as organisations[0].keys[0].sha256",
    ),
    "a hash that is none": (
        "    keys: [{id: ci, sha256: hunter2}]",
        (
            f"mesh.yaml:12:29: organisations[0].keys[0].sha256: is not a SHA-256, which is 64 hexadecimal digits in "
            f"lower case; {ADVICE}"
        ),
    ),
    "a key in plain text": (
        f"    keys: [{{id: ci, sha256: {KEY}}}]",
        f"mesh.yaml:12:29: organisations[0].keys[0].sha256: an API key does not belong here: {ADVICE}",
    ),
    "a key in plain text where a name is allowed": (
        f"    keys: [{{id: {KEY}, sha256: {HASH}}}]",
        f"mesh.yaml:12:17: organisations[0].keys[0].id: an API key does not belong here: {ADVICE}",
    ),
    "a key in a field of the user's own making": (
        f"    keys: [{{id: ci, sha256: {HASH}, secret: hunter2}}]",
        f"mesh.yaml:12:95: organisations[0].keys[0].secret: is not a field, and its value is not shown here; {ADVICE}",
    ),
    "two sources of the collector's headers": (
        "telemetry: {otlp_headers_env: H, otlp_headers_file: /h}",
        "mesh.yaml:12:53: telemetry.otlp_headers_file: names headers beside otlp_headers_env; keep one",
    ),
    "a path that is an address": (
        "telemetry: {otlp_http_path: 'https://otel/v1/traces'}",
        (
            "mesh.yaml:12:29: telemetry.otlp_http_path: 'https://otel/v1/traces' is not allowed; give a path from the "
            "first '/' on, without query and fragment"
        ),
    ),
    "a time that could be anywhere": (
        f"    keys: [{{id: ci, sha256: {HASH}, expires_at: '2027-01-31T00:00:00'}}]",
        (
            "mesh.yaml:12:107: organisations[0].keys[0].expires_at: '2027-01-31T00:00:00' names no time zone; "
            "add Z for UTC"
        ),
    ),
    "a model that is not there": (
        f"    keys: [{{id: ci, sha256: {HASH}, allowed_models: [smal]}}]",
        "mesh.yaml:12:112: organisations[0].keys[0].allowed_models[0]: no model has the name 'smal'; there are small",
    ),
    "a budget of a key that is not there": (
        "    budgets: [{scope: key, subject: ci, window: hour, limit_usd: 1}]",
        (
            "mesh.yaml:12:37: organisations[0].budgets[0].subject: no key of this organisation has the id 'ci'; "
            "there are no keys"
        ),
    ),
    "a key's budget without a key": (
        "    budgets: [{scope: key, window: hour, limit_usd: 1}]",
        "mesh.yaml:12:15: organisations[0].budgets[0]: a budget of a key needs the key's id as its subject",
    ),
    "the organisation's budget with a key": (
        "    budgets: [{scope: organisation, subject: ci, window: hour, limit_usd: 1}]",
        (
            "mesh.yaml:12:46: organisations[0].budgets[0].subject: 'ci' is too much: a budget of the organisation has "
            "no subject"
        ),
    ),
    "two budgets for the same thing": (
        (
            "    budgets: [{scope: organisation, window: day, limit_usd: 1}, {scope: organisation, window: day, "
            "limit_usd: 2}]"
        ),
        (
            "mesh.yaml:12:65: organisations[0].budgets[1]: organisations[0].budgets[0] limits the same scope, subject, "
            "window and kind; keep one"
        ),
    ),
    "a team's budget without a team": (
        "    budgets: [{scope: team, window: hour, limit_usd: 1}]",
        "mesh.yaml:12:15: organisations[0].budgets[0]: a budget of a team needs the team's name as its subject",
    ),
    "requests in dollars": (
        "    budgets: [{scope: organisation, window: minute, kind: requests, limit_usd: 1}]",
        "mesh.yaml:12:80: organisations[0].budgets[0].limit_usd: is no limit of requests; give limit",
    ),
    "money as a number": (
        "    budgets: [{scope: organisation, window: minute, limit: 1}]",
        "mesh.yaml:12:60: organisations[0].budgets[0].limit: is no limit of money; give limit_usd",
    ),
    "a budget without a limit": (
        "    budgets: [{scope: organisation, window: minute, kind: requests}]",
        "mesh.yaml:12:15: organisations[0].budgets[0]: a budget of requests needs its limit",
    ),
    "concurrency over a time": (
        "    budgets: [{scope: organisation, window: minute, kind: concurrency, limit: 1}]",
        (
            "mesh.yaml:12:45: organisations[0].budgets[0].window: open requests are counted at any instant, not over a "
            "minute; give total"
        ),
    ),
    "what is not booked has no place": (
        "    open_when_away: {cap_usd: 5}",
        (
            "mesh.yaml:12:21: organisations[0].open_when_away: needs services.budget.unbooked_folder: a folder on disk "
            "for what is not booked yet"
        ),
    ),
}

WHOLE = {
    "nothing": ("", "mesh.yaml: is not a mapping of fields; deploy/tokenway.example.yaml shows one"),
    "a list": ("- a", "mesh.yaml: is not a mapping of fields; deploy/tokenway.example.yaml shows one"),
    "two documents": (
        VALID + "---\na: 1",
        "mesh.yaml:12:1: not YAML: but found another document",
    ),
    "a bracket that is not closed": (
        "models: [1\n",
        "mesh.yaml:2:1: not YAML: expected ',' or ']', but got '<stream end>'",
    ),
    "a tab": ("a:\n\tb: 1", "mesh.yaml:2:1: not YAML: found character '\\t' that cannot start any token"),
    "a control character": (
        "a: 1\nb: \x00",
        "mesh.yaml:2:4: not YAML: a control character or other character that YAML forbids",
    ),
    "an alias inside itself": (
        "a: &a [*a]",
        "mesh.yaml:1:4: nested deeper than 32 levels or more than 100000 values: does an alias hold itself?",
    ),
    "brackets without end": ("[" * 5_000, "mesh.yaml:1:1: nested deeper than 32 levels"),
    "a list as a field's name": (
        VALID + "? [a]\n: 1\n",
        "mesh.yaml:1:1: the name of a field is a list or a mapping; give a plain name",
    ),
    "no organisation": (
        VALID.partition("organisations")[0],
        "mesh.yaml:1:1: organisations: is missing",
    ),
}


@pytest.mark.parametrize(("change", "expected"), REPLACED.values(), ids=REPLACED)
def test_a_spoilt_passage_is_named_at_its_place(change: tuple[str, str], expected: str) -> None:
    assert spoilt(*change) == expected


@pytest.mark.parametrize(("text", "expected"), ADDED.values(), ids=ADDED)
def test_a_bad_addition_is_named_at_its_place(text: str, expected: str) -> None:
    assert added(text) == expected


@pytest.mark.parametrize(("text", "expected"), WHOLE.values(), ids=WHOLE)
def test_what_is_no_configuration_at_all_is_refused(text: str, expected: str) -> None:
    assert refusal(text) == expected
