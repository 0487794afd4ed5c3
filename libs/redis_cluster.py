"""A Redis Cluster, through redis-py's client less what makes it unfit for a service.

`redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT/?OPTION=VALUE` names some of its nodes, from which the others are
learnt; `rediss+cluster://` is the same over TLS. Options are those of redis-py's URLs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Self, cast
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_SCHEME = "+cluster"
# A primary that froze gives no error. After this time the others are asked who has taken its place: so twice of it, and
# the answer, fit into the second in which a call is refused at the latest.
_ANSWER_SECONDS = 0.3
# redis-py refuses a connection too many, where it could wait for one.
_COMMANDS_AT_ONCE, _CONNECTIONS_PER_NODE = 64, 128
# To learn where every slot is takes some milliseconds of computing: too much for each call to a node that is away.
_LEARN_AGAIN_SECONDS = 0.2
_LOST = (exceptions.ConnectionError, exceptions.TimeoutError)

Command = Sequence[Any]


def names_cluster(url: str) -> bool:
    """True for an address of the form above."""
    return url.partition("://")[0].endswith(_SCHEME)


def nodes_named(url: str) -> list[str]:
    """The address of each node that it names, as that of a single server."""
    _, _, places = urlsplit(url).netloc.rpartition("@")
    return [node_url(url, place) for place in places.split(",")]


def node_url(url: str, place: str) -> str:
    """The address of the node at HOST:PORT, with the credentials and options of the cluster's."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(scheme=parts.scheme.removesuffix(_SCHEME), netloc=credentials + at + place).geturl()


class Cluster(RedisCluster):
    """Learns of its nodes at the first call, and anew when one does not answer or says that another is right.

    Whatever is sent must bear being sent twice. A script runs where its keys are, which have to share a slot.
    """

    def __init__(self, url: str, *, decode_responses: bool) -> None:
        options, *_ = named = [dict[str, Any](parse_url(each)) for each in nodes_named(url)]
        if options.pop("db", 0):
            raise ValueError("a cluster has one database, number 0: leave it out of the address")
        if options.pop("connection_class", None) is SSLConnection:
            options["ssl"] = True
        places = [(each.pop("host", "localhost"), each.pop("port", 6379)) for each in named]
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in places],
            max_connections=_CONNECTIONS_PER_NODE,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            decode_responses=decode_responses,
            protocol=2,
            retry=Retry(NoBackoff(), 1),
            # Where a slot has moved to is noted slot by slot; to forget all would cost every call its connection.
            reinitialize_steps=0,
            **options,
        )
        self._named = self.nodes_manager.startup_nodes
        self._learnt_at = float("-inf")
        self._room = asyncio.Semaphore(_COMMANDS_AT_ONCE)

    async def initialize(self, *args: Any, **kwargs: Any) -> Self:
        if time.monotonic() < self._learnt_at + _LEARN_AGAIN_SECONDS:
            self._initialize = False
            return self
        try:
            # redis-py types it as what can be awaited itself.
            await cast(Awaitable[object], super().initialize(*args, **kwargs))
        except exceptions.RedisClusterException as error:
            # The nodes known last are all gone. Whoever replaced them answers to the names that we were given.
            self.nodes_manager.startup_nodes = dict(self._named)
            raise exceptions.ConnectionError(str(error)) from error  # the other is no RedisError
        self._learnt_at = time.monotonic()
        return self

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        async with self._room:
            return await super().execute_command(*args, **kwargs)

    def node_of(self, key: str) -> ClusterNode | None:
        """The node that has the key, as far as is known; None while nothing is."""
        try:
            return self.get_node_from_key(key)
        except exceptions.SlotNotCoveredError:
            return None

    async def together(self, node: ClusterNode | None, commands: Sequence[Command]) -> list[Any]:
        """The answers of a node to commands that go in one write; errors are among them, redirections too."""
        if node is None:
            raise exceptions.ConnectionError("the nodes of the cluster are not known yet")
        sent = [PipelineCommand(position, *each) for position, each in enumerate(commands)]
        try:
            await node.execute_pipeline(sent)
            answers = [each.result for each in sent]
        except _LOST as error:
            answers = [error] * len(sent)
        # So the next command asks the others first who has taken its place.
        self._initialize = self._initialize or any(isinstance(each, _LOST) for each in answers)
        return answers

    async def aclose(self) -> None:
        await super().aclose()
        # One that has lost its way counts as closed already, and may hold connections.
        for nodes in ("nodes_cache", "startup_nodes"):
            await self.nodes_manager.aclose(nodes)
