"""What the cache needs from outside, and what it may rely on."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.cache.domain.calibration import Label, Learnt, Measure
from services.cache.domain.demand import Demand
from services.cache.domain.flight import Flight, Follow, Lead, Leader, Progress, Standing
from services.cache.domain.found import Hit, SemanticMiss
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.selection import Selection
from services.cache.domain.served_hit import ServedHit


class AnswerStore(Protocol):
    """Whole answers by key, until they expire. The truth: every replica of the cache sees the same.

    An answer is there wholly or not at all, whoever dies meanwhile. Nothing of one organisation is ever seen or touched
    for another. Any call may raise SERVICE_UNAVAILABLE, soon: then nothing is known, and the next call may work.
    """

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        """The answer under the key, as it was put; None when there is none, it has expired, or it cannot be trusted.

        What is not marked with the same key, or was damaged, or was written by another version, is not trusted. Reading
        changes nothing: an answer that is asked for often expires no later.
        """
        ...

    async def as_of(self, organisation: str) -> int:
        """Stands for what has been dropped of the organisation by now: the more, the higher; never 0."""
        ...

    async def put(self, key: AnswerKey, answer: StoredAnswer, *, as_of: int = 0, vector: bytes = b"") -> bool:
        """Stores it until `answer.expires_at`, in place of what was there. Of two at once, one stands, whole.

        `as_of` is from before its generation began. What a drop since then was about is not stored: False. Where it is
        0, nobody knows when that was: it is taken for an hour ago. With a vector, the embedding of `answer.asked`,
        every replica's index learns of it.
        """
        ...

    async def drop(self, organisation: str, selection: Selection) -> int:
        """Drops those of the organisation that are selected, and says how many. What is put meanwhile may stay or go.

        An answer that replaced one with the tag may be dropped with it: it is generated anew, which is never wrong.
        """
        ...

    async def join(self, key: AnswerKey, family: bytes) -> None:
        """Remembers that this answer is the same as all of a family; every replica's index learns of it. Nothing where
        it is not there, or has no vector. What is put anew is of no family.
        """
        ...

    async def evict(self, key: AnswerKey) -> bool:
        """Drops this one; whether it was there."""
        ...

    async def count(self, organisation: str) -> int:
        """How many of the organisation have not expired."""
        ...


class SemanticTier(Protocol):
    """Answers to questions that mean the same, within a partition in which nothing else differs."""

    def looks(self, question: Question, tier: Tier) -> bool:
        """Whether it may look at all. At once: nothing is encoded for it."""
        ...

    async def find(self, question: Question, tier: Tier) -> Hit | SemanticMiss:
        """A hit whose kind, similarity and threshold say so; or why there is none, also when it has no time to look.

        May be cancelled at any moment.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a direction: `vector` holds float32s of the machine's order whose squares add up to 1.

    It is empty where the text has no token, or more than the encoder takes in: such a text is like no other.
    """

    vector: bytes = field(repr=False)
    # Of the text alone, without the marks that an encoder puts round it.
    tokens: int


class EncoderBusyError(Exception):
    """What waits already would take longer than anybody waits for an embedding: go on without one."""


class Encoder(Protocol):
    """Texts as vectors: the nearer the meaning, the nearer to 1 the product of two vectors (their cosine).

    The same text has the same vector. Vectors of encoders with different fingerprints are not compared.
    """

    @property
    def fingerprint(self) -> str:
        """Of weights, tokenizer and form: another one means that all vectors are others."""
        ...

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        ...

    async def embed(self, text: str) -> Embedding:
        """Never blocks the event loop. EncoderBusyError at once when the queue is too long.

        Whoever leaves while it waits changes nothing for others who ask for the same text.
        """
        ...


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An answer's place among the questions of its partition.

    `vector` is the embedding of what was asked: unit length, two bytes a number (IEEE half, little-endian).
    """

    key: AnswerKey
    partition: bytes
    vector: bytes
    expires_at: float
    # What all with the same answer have; empty: it was found the same as none.
    family: bytes = b""

    @property
    def own_family(self) -> bytes:
        """That of which it alone is, until others join: another one whenever it is put, as its answer may be."""
        return self.key.digest[:8] + struct.pack("<d", self.expires_at)


@dataclass(frozen=True, slots=True)
class Near:
    """An answer whose question is near another, by the cosine of the two."""

    key: AnswerKey
    similarity: float
    # All whose answers were found the same have the same one.
    family: bytes


class VectorIndex(Protocol):
    """Which answers of a partition were given to nearby questions: in memory, and what it says is to be verified.

    It holds so many entries and never more. When one too many is put, the organisation with the most loses the one that
    would expire next, so that none can crowd out the others.
    """

    def put(self, entry: IndexEntry) -> AnswerKey | None:
        """Takes it in, in place of what was there under its key; which other lost its place for it, if one did."""
        ...

    def join(self, key: AnswerKey, family: bytes) -> None:
        """Its answer is the same as that family's; nothing happens where it is not."""
        ...

    def remove(self, key: AnswerKey) -> None:
        """Forgets it; nothing happens where it is not."""
        ...

    def clear(self) -> None:
        """Forgets all."""
        ...

    def nearest(self, organisation: str, partition: bytes, vector: bytes, *, limit: int) -> list[Near]:
        """The nearest of this organisation's partition, nearest first, without any that has expired: where
        many have at once, those may for a moment stand before others.

        `vector` has four bytes a number, as an encoder gives it. Cosines are right to a thousandth.
        """
        ...

    def __len__(self) -> int:
        """How many entries take up room; those that have expired may for a while."""
        ...


class ServedHits(Protocol):
    """Which answer a request got, for as long as it may be reported. Any call may raise SERVICE_UNAVAILABLE."""

    async def remember(self, hits: Sequence[ServedHit]) -> None:
        """Takes them in, for a day."""
        ...

    async def find(self, organisation: str, request_id: str) -> ServedHit | None:
        """What the request got; None where it got nothing, or that is forgotten."""
        ...

    async def forget(self, hit: ServedHit) -> bool:
        """Whether it was there still: of several at once, one hears so."""
        ...


class LexicalGuard(Protocol):
    """Rules of language: what an encoder takes for the same although it is not."""

    def __call__(self, asked: str, stored: str, /) -> str | None:
        """Why the answer to what is stored must not serve what is asked; None when nothing speaks against it."""
        ...


class Labels(Protocol):
    """What calibration has learnt, by organisation and measure, of one encoder: counts that outlive processes and are
    shared.

    Nothing of one organisation is seen for another. Any call may raise SERVICE_UNAVAILABLE.
    """

    async def add(self, organisation: str, measure: Measure, label: Label) -> None:
        """One more of its kind."""
        ...

    async def prove(self, organisation: str, measure: Measure, threshold: float, *, wrong_share: float) -> None:
        """Remembers which threshold has been proven to let no more than that share be wrong, in place of what was."""
        ...

    async def learnt(self, organisation: str, measure: Measure, *, wrong_share: float) -> Learnt:
        """All labels, and the threshold that was last proven for this share; nothing is near where none was."""
        ...


class Thresholds(Protocol):
    """How near a stored question must be, and which hits are answered anew to see whether they would be right."""

    def demand(self, organisation: str, tier: Tier) -> Demand:
        """At once: nothing is read for it."""
        ...

    def audits(self, key: AnswerKey) -> bool:
        """Whether this question, if it would be a hit, is to be answered anew: always, or never."""
        ...


class Verifier(Protocol):
    """Says whether two answers are the same, to whoever asked."""

    @property
    def false_equal(self) -> float:
        """The share of answers that differ and are taken for the same, at most: measured."""
        ...

    async def same(self, fresh: StoredAnswer, stored: StoredAnswer) -> bool | None:
        """None where it cannot tell, or has no time."""
        ...


News = Callable[[str, bool], None]


class Flights(Protocol):
    """Who generates what, and what has come of it: shared by all replicas of the cache.

    Of all who ask for one key at the same time one leads; another beside it, after a drop. A lead lasts `lease_seconds`
    from when it was taken or renewed. Whatever is sent under a token that leads no more is not taken. Any call may
    raise SERVICE_UNAVAILABLE, soon: then nothing is known, and the same call may be made again.
    """

    lease_seconds: float

    async def board(
        self, flight: Flight, leader: Leader, selections: Collection[Selection]
    ) -> StoredAnswer | Lead | Follow:
        """In one step: the answer where there is one; else this flight's lead where nobody has one; else who has it.

        The selections are what its answer would belong to. Once one of those is dropped, or this answer is, its lead
        stays what it is, to those who follow, and nobody else comes to follow it: whoever boards then leads anew.
        A leader that gets a follower is told so, on whichever replica it is; this replica, when there is news for one.
        """
        ...

    async def renew(self, flights: Sequence[Flight]) -> list[Standing]:
        """Of each flight that this replica leads; those that are not LOST last for another `lease_seconds`."""
        ...

    async def publish(self, flight: Flight, number: int, pieces: bytes, *, end: bytes | None = None) -> Standing:
        """Adds to what followers get, numbered from 1; a number that was taken before is not taken again.

        ALONE: nothing is kept, for nobody would read it. With an `end` the flight is over: nobody leads it any more.
        """
        ...

    async def give_back(self, flight: Flight) -> None:
        """The lead is free; followers are told that there is no end to come. Nothing where it leads no more.

        A flight that has not boarded yet will not lead any more: who gives it back may have asked and not been heard.
        """
        ...

    async def progress(self, flight: Flight, *, after: int) -> Progress:
        """What was published after a position; 0 is the beginning. Whole for a while after its end."""
        ...

    async def listen(self, news: News) -> None:
        """Until it is cancelled, calls `news` with the token of each flight of this replica's that has some, and
        whether it has ended: to its leader, that it is followed, or that its end was published by way of another
        replica; to its followers, that there is progress. News may be lost, or come twice.
        """
        ...
