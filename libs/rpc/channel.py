"""The one profile of connections, for both sides of every hop."""

from __future__ import annotations

import grpc

from libs.address import is_local
from libs.errors import Reason, TokenwayError
from libs.rpc.tls import Tls, Trust

_MAX_MESSAGE_BYTES = 16 << 20
_KEEPALIVE_MILLISECONDS = 30_000
# A slow line has that long for what is queued before the answer.
_PING_MILLISECONDS = 20_000

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A peer that vanished without a word is noticed within 50 s; live streams keep the connection in use meanwhile. The
    # second is not keepalive_timeout_ms, which decides nothing (grpc/grpc#39239): clients waited for ever.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MILLISECONDS),
    ("grpc.http2.ping_timeout_ms", _PING_MILLISECONDS),
    # The router owns every retry; gRPC's transparent ones would multiply with them.
    ("grpc.enable_retries", 0),
    # A replica that comes back is found quickly: gRPC's default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not a wait: the least time that an attempt to connect is given. TLS to another region takes some of it.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # One connection per channel, so that closing a channel closes it.
    ("grpc.use_local_subchannel_pool", 1),
)

_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MILLISECONDS // 2),
    # grpc.aio accepts one call a round of its loop. Of more than a thousand that wait for it gRPC drops some, and any
    # that has waited for 30 s, as CANCELLED without a word (grpc/grpc#34782). How long to wait is the caller's to say;
    # that there are too many is the router's admission's.
    ("grpc.server.max_pending_requests", 1 << 20),
    ("grpc.server_max_unrequested_time_in_server", 86_400),  # seconds
    # Two processes on one port would share it silently; several per service will ask for it by name.
    ("grpc.so_reuseport", 0),
)


def server_options(*, public: bool) -> tuple[tuple[str, int], ...]:
    """A caller within the mesh that stands still keeps those waiting who follow its answer: it is noticed within 20 s.
    One from outside may have a slow line: 50 s.
    """
    keepalive, ping = (_KEEPALIVE_MILLISECONDS, _PING_MILLISECONDS) if public else (10_000, 10_000)
    return (*_SERVER_OPTIONS, ("grpc.keepalive_time_ms", keepalive), ("grpc.http2.ping_timeout_ms", ping))


def dial(address: str, *, tls: Tls | Trust | None = None, host: str | None = None) -> grpc.aio.Channel:
    """A channel to an address, or to all of a name in turn. Plaintext leaves this machine never: INVALID_REQUEST says
    what to configure.

    `host` is the name behind which the address was found, where it was: the certificate has to be for that.
    """
    if tls is not None:
        return grpc.aio.secure_channel(address, tls.channel_credentials(), options=_options(address, host))
    refuse_plaintext(address, "dial")
    return grpc.aio.insecure_channel(address, options=_options(address, host))


def _options(address: str, host: str | None) -> tuple[tuple[str, object], ...]:
    # The name of a service may have several addresses, a replica each: by default all calls would go to one of them.
    # Not on this machine: a connection that broke is then tried in turns of up to 2 s, and not at the next call.
    spread = () if is_local(address) else (("grpc.lb_policy_name", "round_robin"),)
    named = (("grpc.ssl_target_name_override", host),) if host else ()
    return (*CHANNEL_OPTIONS, *spread, *named)


def refuse_plaintext(address: str, verb: str) -> None:
    """Raises unless the address is on this machine."""
    if not is_local(address):
        message = (
            f"will not {verb} {address} in plaintext: it is neither loopback nor a unix socket; configure certificates "
            "(services.router.tls for the public port, mesh_tls for the hops inside the mesh)"
        )
        raise TokenwayError(Reason.INVALID_REQUEST, message, metadata={"address": address})
