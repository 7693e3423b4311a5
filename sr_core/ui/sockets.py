"""Where the page listens: IPv4, IPv6 or both."""

from __future__ import annotations

import contextlib
import errno
import os
import socket


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets, one per address that `host` stands for.

    `port=0` takes a free one. `::` takes IPv4 too where the system can. Raises `OSError`.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise OSError("no host has such a name") from None
    with contextlib.ExitStack() as undo:
        sockets: list[socket.socket] = []
        missing = OSError("no address")
        for family, place in dict.fromkeys((one[0], one[4]) for one in found):
            both = host == "::" and socket.has_dualstack_ipv6()
            try:
                taken = socket.create_server(place, family=family, dualstack_ipv6=both)
            except OSError as error:
                # `localhost` has an IPv6 address also where the system has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                sockets.append(undo.enter_context(taken))
        if not sockets:
            raise missing
        undo.pop_all()
    return sockets


def reason(error: OSError) -> str:
    """Return what the system says, without the address that Python adds."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def address(host: str, port: int) -> str:
    """Return the address to open in a browser on this computer."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"
