"""Messages in and out of the domain; total, so that no field is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from google.protobuf.duration_pb2 import Duration

from libs.errors import FieldViolation, invalid_request
from libs.rpc.generation import discard_unknown_fields, question_from_proto
from libs.rpc.money import usage_to_proto
from services.cache.domain.draft import AnswerFailed, FillOrder, NotUnderstood
from services.cache.domain.explain import Explanation
from services.cache.domain.figures import Figures
from services.cache.domain.flight import Follow, Lead
from services.cache.domain.found import Bypass, Found, Hit, Kind, LookupEvent, Miss, Publish, SharedEnd, SharedPieces
from services.cache.domain.live_fill import Received
from services.cache.domain.model import Principal, Question, Scope, Tier
from services.cache.domain.selection import Everything, OfModel, Selection, WithTag
from services.cache.domain.stats import FillResult, SemanticResult, Verdict
from services.cache.transport import convert_answer
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, money_pb2, principal_pb2

MAX_TTL_SECONDS = 30 * 86_400
MAX_TAGS = 16
# The router makes them of a request's labels, which have at most 64 bytes on either side.
MAX_TAG_BYTES = 256

_SCOPES = {
    pb.CACHE_SCOPE_UNSPECIFIED: Scope.ORGANISATION,
    pb.CACHE_SCOPE_ORGANISATION: Scope.ORGANISATION,
    pb.CACHE_SCOPE_TEAM: Scope.TEAM,
    pb.CACHE_SCOPE_USER: Scope.USER,
    pb.CACHE_SCOPE_KEY: Scope.KEY,
}
_TIERS = frozenset(Tier)
_VERDICTS = {
    Hit: pb.VERDICT_HIT,
    Miss: pb.VERDICT_MISS,
    Bypass: pb.VERDICT_BYPASS,
    Lead: pb.VERDICT_LEAD,
    Follow: pb.VERDICT_FOLLOW,
}
_KINDS = {Kind.EXACT: money_pb2.CACHE_KIND_EXACT, Kind.SEMANTIC: money_pb2.CACHE_KIND_SEMANTIC}


def question_of(message: pb.LookupRequest | pb.ExplainRequest | pb.FillHeader) -> Question:
    """The question in a message, which loses what this version cannot read; INVALID_REQUEST for what has no meaning.

    Whatever unknown field the message had, anywhere, may have been about the question.
    """
    understood = not discard_unknown_fields(message)
    asked = message.question
    if not asked.principal.organisation:
        raise invalid_request(FieldViolation("question.principal.organisation", "is empty: name the organisation"))
    scope = _SCOPES.get(asked.scope)
    if scope is None:
        known = ", ".join(Scope)
        raise invalid_request(FieldViolation("question.scope", f"is {asked.scope}: give one of {known}"))
    return Question(
        principal=_principal(asked.principal),
        scope=scope,
        model=asked.model,
        model_revision=asked.model_revision,
        adapter=asked.adapter,
        input=question_from_proto(asked.input, place="question.input"),
        policy_version=asked.policy_version,
        reuse_sampled=asked.reuse_sampled,
        understood=understood,
    )


def tier_of(message: pb.LookupRequest | pb.ExplainRequest | pb.FillHeader) -> Tier:
    """The most that is allowed; exact where nothing is said, or what this version does not know."""
    return Tier(message.tier) if message.tier in _TIERS else Tier.EXACT


def tags_of(message: pb.LookupRequest | pb.FillHeader) -> tuple[str, ...]:
    """Each once; INVALID_REQUEST for what is no tag, or too many."""
    place = "header.tags" if isinstance(message, pb.FillHeader) else "tags"
    if len(message.tags) > MAX_TAGS:
        raise invalid_request(FieldViolation(place, f"has {len(message.tags)} tags: give at most {MAX_TAGS}"))
    tags = [_tag(each, f"{place}[{index}]") for index, each in enumerate(message.tags)]
    return tuple(dict.fromkeys(tags))


async def fill_events(requests: AsyncIterator[pb.FillRequest], *, traceparent: str) -> AsyncGenerator[Received]:
    """The events of a Fill, as they come."""
    async for request in requests:
        match request.WhichOneof("event"):
            case "header":
                yield Received(_fill_order(request.header, traceparent))
            case None:
                yield Received(NotUnderstood())  # no event, or one of a later version
            case _ if discard_unknown_fields(request):
                yield Received(NotUnderstood())
            case "delta":
                yield Received(convert_answer.part_from_proto(request.delta), request.delta.SerializeToString())
            case "failed":
                yield Received(AnswerFailed())
            case _:
                yield Received(convert_answer.end_from_proto(request.stored), request.stored.SerializeToString())


def selection_of(request: pb.InvalidateRequest) -> Selection:
    """What to drop; INVALID_REQUEST unless exactly one thing is named."""
    if not request.organisation:
        raise invalid_request(FieldViolation("organisation", "is empty: name the organisation"))
    for field in ("model", "model_revision"):
        if len(getattr(request, field).encode()) > MAX_TAG_BYTES:
            raise invalid_request(FieldViolation(field, f"is longer than a name may be: {MAX_TAG_BYTES} bytes"))
    if request.model_revision and not request.model:
        raise invalid_request(FieldViolation("model_revision", "is given without a model: name the model too"))
    match request.WhichOneof("what"):
        case "all" if request.all:
            return Everything()
        case "model" if request.model:
            return OfModel(request.model, request.model_revision)
        case "tag" if request.tag:
            return WithTag(_tag(request.tag, "tag"))
        case _:
            raise invalid_request(FieldViolation("what", "is not given: say all = true, a model or a tag"))


def lookup_event_to_proto(event: LookupEvent) -> pb.LookupResponse:
    """An event of a lookup."""
    match event:
        case Found():
            return pb.LookupResponse(found=_found_to_proto(event))
        case Publish():
            return pb.LookupResponse(publish=pb.Publish())
        case SharedPieces(message):
            return pb.LookupResponse(delta=generation_pb2.Delta.FromString(message))
        case SharedEnd(message):
            return pb.LookupResponse(stored=pb.Stored.FromString(message))


def _found_to_proto(found: Found) -> pb.Found:
    message = pb.Found(
        verdict=_VERDICTS[type(found.verdict)],
        threshold=found.semantic.threshold if found.semantic else 0,
        semantic_pending=found.semantic_pending,
        as_of=found.as_of,
    )
    match found.verdict:
        case Hit():
            message.origin.CopyFrom(cached_from(found.verdict))
            message.threshold = found.verdict.threshold
            message.answer.CopyFrom(convert_answer.delta_to_proto(found.verdict.answer.whole))
            message.stored.CopyFrom(convert_answer.stored_to_proto(found.verdict.answer.usage))
        case Bypass(reason):
            message.bypass_reason = reason
        case Lead(flight):
            message.lead_token = flight.token
        case Follow(_, leader):
            message.origin.kind = money_pb2.CACHE_KIND_SHARED
            message.origin.source_request_id = leader.request_id
            message.origin.similarity = 1
    return message


def cached_from(hit: Hit) -> money_pb2.CachedFrom:
    """Where a hit comes from."""
    age = Duration()
    age.FromMicroseconds(int(hit.age_seconds * 1e6))
    return money_pb2.CachedFrom(
        kind=_KINDS[hit.kind],
        source_request_id=hit.answer.source_request_id,
        age=age,
        similarity=hit.similarity,
        original_usage=usage_to_proto(hit.answer.usage),
    )


def reporter_of(message: pb.ReportBadHitRequest) -> tuple[Principal, bool]:
    """Who reports, and whether as an administrator."""
    if not message.principal.organisation:
        raise invalid_request(FieldViolation("principal.organisation", "is empty: name the organisation"))
    return _principal(message.principal), message.principal.role == principal_pb2.KEY_ROLE_ADMIN


def fill_to_proto(result: FillResult) -> pb.FillResponse:
    """Whether it is stored, and why not."""
    stored = result is FillResult.STORED
    return pb.FillResponse(stored=stored, reason="" if stored else result)


def explanation_to_proto(explanation: Explanation) -> pb.ExplainResponse:
    """What the lexical guard does not object to is "ok"."""
    surroundings = explanation.surroundings
    neighbours = [
        pb.Neighbour(
            source_request_id=each.answer.source_request_id,
            similarity=each.similarity,
            guard=each.objection or "ok",
            votes=each.votes,
        )
        for each in surroundings.candidates
    ]
    return pb.ExplainResponse(
        bypass_reason=explanation.bypass_reason or "",
        key=explanation.key.digest.hex(),
        partition=explanation.partition.digest.hex(),
        stored=explanation.stored,
        neighbours=neighbours,
        semantic_bypass_reason=surroundings.reason,
        threshold=surroundings.demand.similarity,
        votes_threshold=surroundings.demand.votes,
    )


def figures_to_proto(figures: Figures) -> pb.GetStatsResponse:
    counts, estimate = figures.counts, figures.standing.estimate
    return pb.GetStatsResponse(
        lookups=counts.cacheable_lookups,
        hits=counts.lookups[Verdict.HIT],
        fills=counts.fills[FillResult.STORED],
        bypassed=counts.lookups[Verdict.BYPASS],
        reported=counts.reported,
        entries=figures.entries,
        estimated_wrong_share=estimate.wrong_share,
        wrong_share_upper_bound=estimate.upper_bound,
        labels=estimate.labels,
        calibrated_threshold=figures.standing.threshold,
        semantic_hits=counts.semantic[SemanticResult.HIT],
        semantic_shed=counts.semantic[SemanticResult.SHED],
        audited=counts.semantic[SemanticResult.AUDIT],
        shared=counts.lookups[Verdict.SHARED],
    )


def _tag(tag: str, place: str) -> str:
    key, equals, _ = tag.partition("=")
    if not (key and equals and len(tag.encode()) <= MAX_TAG_BYTES):
        wanted = f"is {tag[:MAX_TAG_BYTES]!r}: give KEY=VALUE of at most {MAX_TAG_BYTES} bytes"
        raise invalid_request(FieldViolation(place, wanted))
    return tag


def _principal(message: principal_pb2.Principal) -> Principal:
    return Principal(organisation=message.organisation, key_id=message.key_id, user=message.user, team=message.team)


def _fill_order(header: pb.FillHeader, traceparent: str) -> FillOrder:
    seconds = header.ttl.ToNanoseconds() / 1e9
    if not 0 < seconds <= MAX_TTL_SECONDS:
        raise invalid_request(
            FieldViolation("header.ttl", f"is {seconds:g} s: give above 0 and at most {MAX_TTL_SECONDS}")
        )
    return FillOrder(
        question=question_of(header),
        request_id=header.request_id,
        ttl_seconds=seconds,
        tags=tags_of(header),
        traceparent=traceparent,
        tier=tier_of(header),
        lead_token=header.lead_token,
        as_of=header.as_of,
    )
