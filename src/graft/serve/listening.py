"""Sockets that listen, and the addresses that they have."""

import os
import socket

from graft.errors import UsageError


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one. UsageError for an address that is not free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # What Python adds to the system's words says the address once more.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UsageError(
            f"{host} port {port} cannot be used ({why}); choose another --port"
        ) from error


def address_of(listening: socket.socket) -> str:
    """Where a socket listens, as http://HOST:PORT."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    host: str = listening.getsockname()[0]
    return host == "::1" or host.startswith("127.")
