"""Start the page from the command line: its address, and the signals that end it.

Gradio is loaded by functions only: it takes seconds, and reads the environment as it is imported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from sr_core.runtime.choice import add_engine_option, engine_or_none, runtime_name
from sr_core.ui.sockets import address, listen, reason

if TYPE_CHECKING:
    from sr_core.ui.server import Server

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860
_HOST, _PORT = "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"
_LONGEST_STOP_S = 8.0
"""Containers kill after 10 s what they asked to end."""


def serve(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until a signal ends it. Returns the exit code."""
    ending = _Ending()
    with ending:
        args = _parse(argv)
        try:
            sockets = listen(args.host, args.port)
        except OSError as error:
            sys.stderr.write(
                f"error: cannot listen on {args.host}, port {args.port} ({reason(error)}): "
                "choose others with --host and --port.\n"
            )
            return 1
        # The sockets are ours. Gradio would read this too, and stop where it is no number.
        for name in (_PORT, "GRADIO_NUM_PORTS"):
            os.environ.pop(name, None)
        ending.server = server = _server(args.engine)
        host, port = args.host, args.port
        print(f"UpFront runs at {address(host, port)} (Ctrl-C ends it).", flush=True)  # noqa: T201
        server.run(sockets)
    return 0


def _server(engine: str) -> Server:
    from sr_core.catalogue.store import Catalogue
    from sr_core.ui.page import build_page
    from sr_core.ui.server import make_server

    catalogue = Catalogue(use_engine=engine == "sparse")
    library = engine_or_none(engine, catalogue.engine, catalogue.engine_problem)
    health = {"runtime": runtime_name(library), "engine_problem": catalogue.engine_problem}
    return make_server(build_page(catalogue), health)


class _Ending:
    """Within it, a signal that asks the page to end does so, with exit code 0.

    As the first process of a container, a process without a handler would not hear SIGTERM.
    """

    _NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last two: not on every system

    def __init__(self) -> None:
        self.server: Server | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for name in self._NAMES:
            number = getattr(signal, name, None)
            # `nohup` has SIGHUP ignored, and means it.
            kept = name == "SIGHUP" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            if number is not None and not kept:
                self._before[number] = signal.signal(number, self._end)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        # What a visitor's image or measurement still computes cannot be interrupted.
        last_resort = threading.Timer(_LONGEST_STOP_S, os._exit, [0])
        last_resort.daemon = True
        last_resort.start()
        if self.server is None:
            raise SystemExit(0)
        self.server.handle_exit(number, frame)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python app.py", description="Start UpFront's web page.")
    parser.add_argument(
        "--host", type=_host,
        help=f"name or address to listen on (default: {_HOST}, else {DEFAULT_HOST})",
    )  # fmt: skip
    parser.add_argument("--port", type=_port, help=f"port (default: {_PORT}, else {DEFAULT_PORT})")
    add_engine_option(parser)
    args = parser.parse_args(argv)
    for name, variable, read, default in (
        ("host", _HOST, _host, DEFAULT_HOST), ("port", _PORT, _port, DEFAULT_PORT),
    ):  # fmt: skip
        if getattr(args, name) is None:
            try:
                text = os.environ.get(variable)
                setattr(args, name, default if text is None else read(text))
            except argparse.ArgumentTypeError as error:
                parser.error(f"the environment variable {variable}: {error}")
    return args


def _host(text: str) -> str:
    """Read a host for argparse: a name, an IPv4 address, or an IPv6 address, also in brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    looks_like_port = bare.count(":") == 1
    if not bare or looks_like_port or not bare.isprintable() or set(bare) & set(" /[]@?#*\\"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no host: expected a name or an address alone, such as localhost, "
            f"{DEFAULT_HOST}, 0.0.0.0 or ::1"
        )
    return bare


def _port(text: str) -> int:
    """Read a port for argparse."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 1 to 65535")
    return int(text)
