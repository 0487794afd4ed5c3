"""Every name of a span, an attribute, an event and a metric: the one place to look up and to change them.

`gen_ai.*`, `rpc.*` and `error.*` are OpenTelemetry's semantic conventions, `llm_*` the metrics that dashboards of
such systems know; `tokenway.*` is ours. Labels are enums or configured names; ids belong on spans alone.
"""

from __future__ import annotations

from typing import Final

# Spans.
SPAN_GUARD_INPUT: Final = "guard.input"
SPAN_GUARD_OUTPUT: Final = "guard.output"
SPAN_ROUTE: Final = "route"
SPAN_ENGINE: Final = "engine"
# vLLM's own, a child of SPAN_ENGINE.
SPAN_VLLM_REQUEST: Final = "llm_request"


def chat_span(model: str) -> str:
    """An attempt on a model, and the caller's own span round the whole request."""
    return f"chat {model}"


def rpc_span(path: str) -> str:
    """Both sides of an RPC: `/tokenway.cache.v1.CacheService/Lookup` without its leading slash."""
    return path.removeprefix("/")


# Events.
EVENT_CANDIDATE: Final = "candidate"
EVENT_FIRST_TOKEN: Final = "first_token"  # noqa: S105 # a model's token, no secret
EVENT_LAST_TOKEN: Final = "last_token"  # noqa: S105 # the same
EVENT_ABORTED: Final = "aborted"
EVENT_GUARD_VERDICT: Final = "verdict"

# Attributes of OpenTelemetry's GenAI conventions.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
# Seconds from the request to its first delta.
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 # the same
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
# Who provides the model, to whoever reads a span of the router: the mesh itself.
PROVIDER_TOKENWAY: Final = "tokenway"
OPERATION_CHAT: Final = "chat"
OPERATION_EMBEDDINGS: Final = "embeddings"
OPERATION_TEXT_COMPLETION: Final = "text_completion"

# Attributes of OpenTelemetry's RPC conventions.
RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
# "OK", "CANCELLED" …
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
# The Reason of a failed call, else the exception's class.
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# Resource attributes.
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"

# Our own attributes. `tokenway trace` finds a request's trace by the first.
REQUEST_ID: Final = "tokenway.request_id"
ORGANISATION: Final = "tokenway.organisation"
TEAM: Final = "tokenway.team"
USER: Final = "tokenway.user"
KEY_ID: Final = "tokenway.key_id"
OUTCOME: Final = "tokenway.outcome"
COST_MICRO_USD: Final = "tokenway.cost_micro_usd"
# Seconds of the request in which it waited neither for an engine nor for its caller to read.
OVERHEAD_SECONDS: Final = "tokenway.overhead_seconds"
# Set at the start of a root span that is made after its request ended badly: exported whatever the ratio says.
LATE: Final = "tokenway.late"

ROUTE_MODEL: Final = "tokenway.route.model"
ROUTE_SCORE: Final = "tokenway.route.score"
ROUTE_REASON: Final = "tokenway.route.reason"
ATTEMPT: Final = "tokenway.attempt"
HEDGE: Final = "tokenway.hedge"

CACHE_VERDICT: Final = "tokenway.cache.verdict"
CACHE_KIND: Final = "tokenway.cache.kind"
CACHE_SIMILARITY: Final = "tokenway.cache.similarity"
# A cosine; or a share of votes, where the votes stand beside it.
CACHE_THRESHOLD: Final = "tokenway.cache.threshold"
CACHE_VOTES: Final = "tokenway.cache.votes"
CACHE_AGE_SECONDS: Final = "tokenway.cache.age_seconds"
CACHE_BYPASS_REASON: Final = "tokenway.cache.bypass_reason"
CACHE_FLIGHT: Final = "tokenway.cache.flight"
CACHE_SEMANTIC_MISS: Final = "tokenway.cache.semantic_miss"
CACHE_TIER: Final = "tokenway.cache.tier"
# What the lexical guard had against the nearest answer.
CACHE_GUARD: Final = "tokenway.cache.guard"
CACHE_FILL_RESULT: Final = "tokenway.cache.fill_result"

BUDGET_SCOPES: Final = "tokenway.budget.scopes"
BUDGET_RESERVED_MICRO_USD: Final = "tokenway.budget.reserved_micro_usd"
BUDGET_DECISION: Final = "tokenway.budget.decision"
BUDGET_RESERVATION_ID: Final = "tokenway.budget.reservation_id"
BUDGET_SOFT_LIMITS: Final = "tokenway.budget.soft_limits"

ENGINE_QUEUE_SECONDS: Final = "tokenway.engine.queue_seconds"
ENGINE_PREFILL_SECONDS: Final = "tokenway.engine.prefill_seconds"
ENGINE_DECODE_SECONDS: Final = "tokenway.engine.decode_seconds"

# What an administrator changed, and what it was called.
ADMIN_CHANGE: Final = "tokenway.admin.change"
ADMIN_SUBJECT: Final = "tokenway.admin.subject"

GUARD_RULE: Final = "tokenway.guard.rule"
GUARD_VERDICT: Final = "tokenway.guard.verdict"

# Metrics of the router. prometheus_client adds `_total` to a counter that lacks it.
METRIC_REQUESTS: Final = "llm_requests_total"
METRIC_LATENCY: Final = "llm_latency_seconds"
METRIC_TIME_TO_FIRST_TOKEN: Final = "llm_ttft_seconds"  # noqa: S105 # the same
METRIC_TOKENS: Final = "llm_tokens_total"
METRIC_COST: Final = "llm_estimated_cost_dollars_total"
METRIC_REFUSED: Final = "tokenway_requests_refused_total"
METRIC_ATTEMPTS: Final = "tokenway_attempts_total"
METRIC_RETRIES: Final = "tokenway_retries_total"
METRIC_FALLBACKS: Final = "tokenway_fallbacks_total"
METRIC_OVERHEAD: Final = "tokenway_overhead_seconds"
METRIC_TOKENS_DISCARDED: Final = "tokenway_tokens_discarded_total"
METRIC_CLIENT_TOKEN_USAGE: Final = "gen_ai_client_token_usage"  # noqa: S105 # the same
METRIC_GUARD_VERDICTS: Final = "tokenway_guard_verdicts_total"
METRIC_GUARD_HELD_SECONDS: Final = "tokenway_guard_held_seconds"
METRIC_GUARD_HELD_CHARACTERS: Final = "tokenway_guard_held_characters"
# Of the cache.
METRIC_CACHE_HIT_RATE: Final = "llm_cache_hit_rate"
METRIC_CACHE_LOOKUPS: Final = "tokenway_cache_lookups_total"
METRIC_CACHE_FILLS: Final = "tokenway_cache_fills_total"
METRIC_CACHE_BAD_HITS: Final = "tokenway_cache_bad_hits_total"
METRIC_CACHE_FLIGHTS: Final = "tokenway_cache_flights_total"
METRIC_CACHE_FOLLOWERS: Final = "tokenway_cache_followers"
METRIC_CACHE_UNREADABLE: Final = "tokenway_cache_unreadable_total"
METRIC_CACHE_SEMANTIC: Final = "tokenway_cache_semantic_total"
METRIC_CACHE_WRONG_SHARE: Final = "tokenway_cache_wrong_share"
METRIC_CACHE_WRONG_SHARE_BOUND: Final = "tokenway_cache_wrong_share_upper_bound"
METRIC_CACHE_GUARD_VETOES: Final = "tokenway_cache_guard_vetoes_total"
METRIC_CACHE_INDEX_ENTRIES: Final = "tokenway_cache_index_entries"
METRIC_CACHE_INDEX_BEHIND: Final = "tokenway_cache_index_behind_seconds"
METRIC_CACHE_INDEX_REBUILDS: Final = "tokenway_cache_index_rebuilds_total"
# Of the budget.
METRIC_BUDGET_DECISIONS: Final = "tokenway_budget_decisions_total"
METRIC_BUDGET_SETTLEMENTS: Final = "tokenway_budget_settlements_total"
METRIC_BUDGET_PRESUMED_LEASES: Final = "tokenway_budget_presumed_leases_total"
METRIC_BUDGET_PRESUMED_COST: Final = "tokenway_budget_presumed_dollars_total"
METRIC_BUDGET_UNCOVERED_COST: Final = "tokenway_budget_uncovered_dollars_total"
METRIC_BUDGET_SOFT_LIMITS_PASSED: Final = "tokenway_budget_soft_limits_passed_total"
METRIC_BUDGET_SWEEPS: Final = "tokenway_budget_sweeps_total"
METRIC_BUDGET_TRIMS: Final = "tokenway_budget_trims_total"
METRIC_BUDGET_UNCHECKED: Final = "tokenway_budget_unchecked_reservations_total"
METRIC_BUDGET_UNBOOKED: Final = "tokenway_budget_unbooked_dollars"
# Of the engines.
METRIC_GPU_UTILIZATION: Final = "llm_gpu_utilization"
METRIC_GPU_MEMORY: Final = "llm_gpu_memory_bytes"
METRIC_ENGINE_RUNNING: Final = "tokenway_engine_requests_running"
METRIC_ENGINE_WAITING: Final = "tokenway_engine_requests_waiting"
METRIC_ENGINE_KV_CACHE: Final = "tokenway_engine_kv_cache_usage_ratio"
METRIC_SERVER_REQUEST_DURATION: Final = "gen_ai_server_request_duration_seconds"
METRIC_SERVER_TIME_TO_FIRST_TOKEN: Final = "gen_ai_server_time_to_first_token_seconds"  # noqa: S105 # the same
METRIC_SERVER_TIME_PER_OUTPUT_TOKEN: Final = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105 # the same
# Of every service.
METRIC_RPC_REQUESTS: Final = "tokenway_rpc_requests_total"
METRIC_RPC_SECONDS: Final = "tokenway_rpc_seconds"
METRIC_RPC_IN_FLIGHT: Final = "tokenway_rpc_in_flight"
METRIC_LOOP_LAG: Final = "tokenway_event_loop_lag_seconds"
# Of every service that calls others.
METRIC_RPC_CLIENT_REQUESTS: Final = "tokenway_rpc_client_requests_total"
METRIC_RPC_CLIENT_SECONDS: Final = "tokenway_rpc_client_seconds"


def prometheus_label(attribute: str) -> str:
    """An attribute as Prometheus names it: `gen_ai.request.model` → `gen_ai_request_model`."""
    return attribute.replace(".", "_")
