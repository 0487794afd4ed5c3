"""What the configuration file may say. One file serves the whole mesh; each service takes its part.

Units are in the names. Money is written in US dollars and must be whole micro-dollars. Unknown fields are refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from libs.settings import addresses, patterns

MICRO_USD_PER_USD = 1_000_000

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ADDRESS = r"^(unix:[^\s]+|[^\s:]\S*:\d{1,5})$"
SHA256 = r"^[0-9a-f]{64}$"
REDIS_URL = r"^(embedded|(rediss?(\+cluster)?|unix)://.+)$"
HTTP_URL = r"^https?://[^\s/?#@][^\s?#@]*$"
PATH = r"^/[^\s?#@]*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
# What each pattern allows, in words.
ALLOWED = {
    NAME: "letters, digits, '.', '_' and '-', at most 64, a letter or digit first",
    ADDRESS: "HOST:PORT, [IPV6]:PORT or unix:PATH",
    SHA256: "64 hexadecimal digits in lower case",
    HTTP_URL: "https://HOST/PATH, or http:// and a loopback address, without user, password, query and fragment",
    PATH: "a path from the first '/' on, without query and fragment",
    VARIABLE: "letters, digits and '_', no digit first",
    REDIS_URL: "'embedded', or an address that starts with redis://, rediss://, unix://, redis+cluster:// or"
    " rediss+cluster://",
}


def _whole_micro_usd(usd: Decimal) -> Decimal:
    micro = usd * MICRO_USD_PER_USD
    if micro != micro.to_integral_value():
        raise ValueError(f"{usd} US dollars is not a whole number of micro-dollars; give at most 6 decimals")
    return usd


Usd = Annotated[Decimal, Field(ge=0, le=1_000_000_000), AfterValidator(_whole_micro_usd)]
# Of a million tokens. The ledger counts exactly up to this.
PriceUsd = Annotated[Decimal, Field(ge=0, le=1_000_000), AfterValidator(_whole_micro_usd)]
Name = Annotated[str, Field(pattern=NAME)]
# "127.0.0.1:50051", "[::1]:50051", "unix:/run/tokenway/budget.sock"; port 0 takes a free one.
Address = Annotated[str, Field(pattern=ADDRESS), AfterValidator(addresses.checked)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
HttpUrl = Annotated[str, Field(pattern=HTTP_URL), AfterValidator(addresses.encrypted_or_local)]


def micro_usd(usd: Decimal) -> int:
    """Whole micro-US-dollars of an amount that the schema accepted."""
    return int(usd * MICRO_USD_PER_USD)


class Section(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, fields: Any) -> Any:
        # So that everything below a section's name may be commented out. An unknown field stays, to be refused.
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None or name not in cls.model_fields}


class Tls(Section):
    """Certificates, as PEM files. With `ca_file` the other side must show a certificate of it (mTLS)."""

    certificate_file: str
    key_file: str
    ca_file: str | None = None


class MeshTls(Tls):
    """Certificates of the hops inside the mesh: each service shows its own and demands one of the same authority."""

    ca_file: str


class Service(Section):
    """Where a service listens. Plaintext is accepted on loopback and unix sockets alone."""

    listen: Address
    metrics: Address = Field(default="127.0.0.1:0", description="Prometheus over HTTP")
    drain_seconds: Seconds = Field(default=30, description="how long streams may go on after SIGTERM")


class Router(Service):
    """The public API."""

    listen: Address = "127.0.0.1:50051"
    tls: Tls | None = Field(default=None, description="of the public port")
    max_concurrent_requests: int = Field(default=100, ge=1, le=100_000)
    default_deadline_seconds: Seconds = Field(default=120, description="for callers that set none")
    cache_lookup_seconds: Seconds = Field(default=0.02, description="a slower cache is a miss")
    cache_semantic_seconds: Seconds = Field(default=0.05, description="the same of the cache's semantic tier")
    attempts_per_model: int = Field(default=3, ge=1, le=10)
    retry_wait_min_seconds: Seconds = 1
    retry_wait_max_seconds: Seconds = 10
    # A message within the mesh has at most 16 MiB, and more in it than the question.
    max_prompt_bytes: int = Field(default=1 << 20, ge=1, le=8 << 20)


class InnerService(Service):
    """A service that the router calls."""

    address: Address | None = Field(default=None, description="where the router reaches it; absent: where it listens")

    @property
    def reached_at(self) -> str:
        return self.address or self.listen


class Cache(InnerService):
    """Answers that may be reused."""

    listen: Address = "127.0.0.1:50052"
    max_answer_bytes: int = Field(default=256 << 10, ge=1, le=4 << 20)
    max_answers: int = Field(default=100_000, ge=1, le=10_000_000, description="stored ones of all organisations")
    max_entries: int = Field(
        default=100_000, ge=1, le=10_000_000, description="questions in the semantic index, 2 KB of memory each"
    )


class Budget(InnerService):
    """What may be spent."""

    listen: Address = "127.0.0.1:50053"
    lease_seconds: Seconds = Field(default=60, ge=1, description="how long a silent router keeps its lease")
    first_lease_tokens: int = Field(default=256, ge=1, description="output tokens reserved before the first token")
    sweep_seconds: Seconds = 5
    receipt_days: int = Field(default=35, ge=2, le=3_650, description="older receipts become sums")
    receipts_export_dir: str | None = Field(
        default=None, min_length=1, description="a folder that gets them first, as JSON lines; absent: they are gone"
    )
    sync_limits: bool = Field(
        default=False, description="at each start the limits of this file take the place of those that were stored"
    )
    replicas: int = Field(default=1, ge=1, le=1_000, description="how many share what open_when_away allows")
    unbooked_folder: str | None = Field(
        default=None, description="where each replica keeps what it could not book yet; needed by open_when_away"
    )


class Services(Section):
    """The services other than inference, which belongs to its model."""

    router: Router = Router()
    cache: Cache = Cache()
    budget: Budget = Budget()


class Stores(Section):
    """Redis. `embedded` starts the Valkey that comes with the mesh; a URL names a server of yours, or a cluster."""

    redis_url: str = Field(default="embedded", pattern=REDIS_URL)
    cache_redis_url: str | None = Field(
        default=None, pattern=REDIS_URL, description="a server of its own for the cache", validate_default=True
    )

    @field_validator("cache_redis_url")
    @classmethod
    def _one_server(cls, url: str | None, others: ValidationInfo) -> str | None:
        # Its replicas follow the changes of all organisations, which lie in no one place of a cluster.
        if "+cluster://" in (url or others.data.get("redis_url", "")):
            raise ValueError("the cache takes one server and no cluster: name one here")
        return url


class Price(Section):
    """US dollars per million tokens."""

    input_usd_per_million_tokens: PriceUsd
    cached_input_usd_per_million_tokens: PriceUsd | None = Field(default=None, description="default: the input price")
    output_usd_per_million_tokens: PriceUsd
    version: Name = "1"


class VllmEngine(Section):
    """vLLM in the inference process."""

    kind: Literal["vllm"]
    model_path: str = Field(
        default="default", description="a Hugging Face folder; `default` is the mesh's own small model"
    )
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    gpu_memory_utilization: float = Field(default=0.95, gt=0, le=1)
    max_num_seqs: int = Field(default=256, ge=1, le=65_536)
    max_model_len: int = Field(default=4_096, ge=16, le=10_000_000)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    enforce_eager: bool = False
    kv_cache_memory_bytes: int | None = Field(default=None, ge=1 << 20, description="needed on a CPU")
    block_size: int | None = Field(default=None, ge=1, le=256)
    max_num_queued_requests: int = Field(default=1_024, ge=1)
    load_format: Literal["auto", "dummy"] = "auto"
    stream_interval: int = Field(default=1, ge=1, le=1_024, description="tokens a message; more saves host time")


class ScriptedEngine(Section):
    """Deterministic tokens at a given pace: for tests, load and dry runs. It answers nothing."""

    kind: Literal["scripted"]
    tokens_per_second: float = Field(default=50, gt=0, le=1_000_000)
    first_token_seconds: float = Field(default=0.02, ge=0, le=3_600)
    answer_tokens: int = Field(default=32, ge=1, le=1_000_000)
    max_model_len: int = Field(default=4_096, ge=16, le=10_000_000)
    max_num_seqs: int = Field(default=256, ge=1, le=65_536)
    made_tokens_file: str | None = Field(default=None, description="one JSON line a token made, flushed to disk")
    allow_directives: bool = Field(default=False, description="obey faults that a prompt asks for; for tests")


class OpenAiEngine(Section):
    """A provider that speaks OpenAI's API over HTTP. Its key is never in this file."""

    kind: Literal["openai"]
    base_url: HttpUrl = Field(description="what stands before /chat/completions")
    model: str = Field(min_length=1, max_length=256, description="the provider's name of the model")
    api_key_env: str | None = Field(default=None, pattern=VARIABLE, description="the variable that holds the key")
    api_key_file: str | None = Field(default=None, description="or the file that does; neither: no key is sent")
    max_model_len: int = Field(default=4_096, ge=16, le=10_000_000)
    max_num_seqs: int = Field(default=256, ge=1, le=65_536, description="requests at the provider at once")
    connect_seconds: Seconds = 5
    first_token_seconds: Seconds = Field(default=60, description="a provider without a token by then is away")
    idle_seconds: Seconds = Field(default=30, description="silence in mid-answer")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="OpenAI's newer models take the latter alone"
    )
    extra_sampling: tuple[Literal["top_k", "min_p", "repetition_penalty"], ...] = Field(
        default=(), description="what this provider takes beyond OpenAI's API; the rest is refused"
    )


Engine = Annotated[VllmEngine | ScriptedEngine | OpenAiEngine, Field(discriminator="kind")]


class Model(Section):
    """A model, what it is good for, what it costs, and where its replicas are."""

    name: Name
    tier: Literal["small", "medium", "large", "frontier"]
    capabilities: tuple[Name, ...] = Field(min_length=1, description="`all` stands for every one")
    context_window_tokens: int = Field(ge=16, le=10_000_000)
    p99_latency_seconds: Seconds
    price: Price
    revision: str = "1"
    endpoints: tuple[Address, ...] = Field(min_length=1, description="one a replica")
    metrics: Address = "127.0.0.1:0"
    drain_seconds: Seconds = Field(default=30, description="how long streams may go on after SIGTERM")
    engine: Engine | None = Field(default=None, description="absent: somebody else runs the replicas")


class CachePolicy(Section):
    """Which answers of an organisation may be reused, and by whom."""

    enabled: bool = True
    scope: Literal["organisation", "team", "user", "key"] = "organisation"
    ttl_seconds: float = Field(default=3_600, gt=0, le=30 * 86_400)
    reuse_sampled: bool = Field(default=False, description="also answers drawn at a temperature above 0")
    tier: Literal["exact", "strict", "balanced", "calibrated"] = Field(
        default="exact", description="how like a stored question another may be; a request may only be stricter"
    )
    single_flight: bool = Field(default=True, description="who asks what is being generated gets it as it comes")
    wrong_share: float = Field(
        default=0.05, gt=0, le=0.5, description="calibrated: the most of its semantic hits that may be wrong"
    )

    @property
    def is_semantic(self) -> bool:
        """Whether other questions than the same may have an answer: then the cache needs its encoder."""
        return self.enabled and self.tier != "exact"


GuardAction = Literal["off", "redact", "block"]


class GuardKinds(Section):
    """What is done about each kind of content."""

    api_key: GuardAction = Field(default="off", description="keys and tokens of the common forms, private keys")
    iban: GuardAction = Field(default="off", description="with its checksum")
    card: GuardAction = Field(default="off", description="payment cards, with their checksum")
    ssn: GuardAction = Field(default="off", description="US social security numbers")
    ip: GuardAction = Field(default="off", description="addresses of IPv4 and IPv6")
    email: GuardAction = "off"
    phone: GuardAction = Field(default="off", description="international, or as written in North America")


class GuardPattern(Section):
    """A regular expression of the organisation's own."""

    name: Name
    regex: Annotated[str, AfterValidator(patterns.checked)] = Field(description="at most 64 characters match")
    input: GuardAction = "block"
    output: GuardAction = "block"


class Guards(Section):
    """What may be said to models and by them."""

    input: GuardKinds = GuardKinds()
    output: GuardKinds = GuardKinds()
    restore: bool = Field(default=False, description="answers get back what was redacted in their question")
    patterns: tuple[GuardPattern, ...] = Field(default=(), max_length=100)


class Limit(Section):
    """The most of one kind that may be used over a time."""

    scope: Literal["key", "user", "team", "organisation"]
    subject: Name | None = Field(
        default=None, description="the key's id, the user or the team; absent for the organisation"
    )
    window: Literal["minute", "hour", "day", "month", "total"] = Field(
        description="of the calendar (UTC) for money, sliding for the others; concurrency has total alone"
    )
    kind: Literal["money", "requests", "input_tokens", "output_tokens", "concurrency"] = "money"
    limit_usd: Usd | None = Field(default=None, description="the limit of money")
    limit: int | None = Field(default=None, ge=0, le=10**15, description="the limit of any other kind")
    soft: bool = Field(default=False, description="warns and refuses nothing; may stand beside a hard one")


class Key(Section):
    """An API key. The file holds its SHA-256 alone: `printf %s "$KEY" | sha256sum`."""

    id: Name
    sha256: Annotated[str, Field(pattern=SHA256)]
    user: Name | None = None
    team: Name | None = None
    role: Literal["caller", "admin"] = "caller"
    allowed_models: tuple[Name, ...] = Field(default=(), description="empty: all")
    expires_at: AwareDatetime | None = None


class OpenWhenAway(Section):
    """What may be spent unchecked while the ledger's Redis is away; it is booked when that is back."""

    cap_usd: Usd = Field(gt=0, description="by all replicas of the budget together; limits are not looked at")
    window: Literal["hour", "day", "month"] = Field(default="day", description="of the calendar (UTC)")


class Organisation(Section):
    """A tenant: its content never reaches another."""

    name: Name
    keys: tuple[Key, ...] = ()
    budgets: tuple[Limit, ...] = ()
    open_when_away: OpenWhenAway | None = Field(
        default=None, description="absent: nothing is spent while money cannot be checked"
    )
    cache: CachePolicy = CachePolicy()
    guards: Guards | None = Field(default=None, description="absent: nothing is looked for")


class Telemetry(Section):
    """Traces go by OTLP; metrics are scraped from each process."""

    otlp_endpoint: Address | None = Field(default=None, description="host:port of a collector or Jaeger")
    otlp_protocol: Literal["grpc", "http"] = Field(default="grpc", description="http: protobuf over HTTP")
    otlp_http_path: str = Field(default="/v1/traces", pattern=PATH, description="of the collector, for http")
    otlp_tls_ca_file: str | None = Field(default=None, description="TLS, with the authority to know the collector by")
    otlp_tls_certificate_file: str | None = Field(default=None, description="our own, where it asks for one (mTLS)")
    otlp_tls_key_file: str | None = None
    otlp_headers_env: str | None = Field(
        default=None, pattern=VARIABLE, description="the variable that holds headers: name=value, by commas"
    )
    otlp_headers_file: str | None = Field(default=None, description="or the file that does, one a line")
    sampling_ratio: float = Field(default=1.0, ge=0, le=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole file."""

    services: Services = Services()
    stores: Stores = Stores()
    models: tuple[Model, ...] = Field(min_length=1)
    organisations: tuple[Organisation, ...] = Field(min_length=1)
    telemetry: Telemetry = Telemetry()
    mesh_tls: MeshTls | None = Field(
        default=None, description="absent: hops need the mesh token, on loopback or unix sockets"
    )
