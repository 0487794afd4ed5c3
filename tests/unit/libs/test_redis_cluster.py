"""Addresses of clusters; what a client of one does is shown on a real one, in tests/contract/test_redis_cluster.py."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection

from libs.redis_cluster import Cluster, names_cluster, node_url, nodes_named


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://a:7000,b:7001", ["redis://a:7000", "redis://b:7001"]),
        ("rediss+cluster://me:p%40ss@a:1/?ssl_ca_certs=/ca.pem", ["rediss://me:p%40ss@a:1/?ssl_ca_certs=/ca.pem"]),
        ("redis+cluster://[::1]:7000,[::2]:7000/0", ["redis://[::1]:7000/0", "redis://[::2]:7000/0"]),
    ],
)
def test_a_cluster_is_named_by_some_of_its_nodes(url: str, nodes: list[str]) -> None:
    assert names_cluster(url)
    assert nodes_named(url) == nodes


def test_a_node_has_the_credentials_and_options_of_its_cluster() -> None:
    assert node_url("rediss+cluster://me:secret@a:1,b:1/?x=1", "c:2") == "rediss://me:secret@c:2/?x=1"


@pytest.mark.parametrize("url", ["redis://a:1", "rediss://a:1", "unix:///run/redis.sock"])
def test_a_server_is_no_cluster(url: str) -> None:
    assert not names_cluster(url)


def test_what_an_address_says_holds_for_every_node() -> None:
    cluster = Cluster("rediss+cluster://me:p%40ss@a:1,b/?ssl_ca_certs=/ca.pem", decode_responses=True)

    assert [(node.host, node.port) for node in cluster.startup_nodes] == [("a", 1), ("b", 6379)]
    for node in cluster.startup_nodes:
        assert node.connection_class is SSLConnection
        given = {name: node.connection_kwargs[name] for name in ("username", "password", "ssl_ca_certs")}
        assert given == {"username": "me", "password": "p@ss", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize("url", ["redis+cluster://a:1/2", "redis+cluster://a:port"])
def test_an_address_that_no_cluster_has_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"database|[Pp]ort"):
        _ = Cluster(url, decode_responses=True)
