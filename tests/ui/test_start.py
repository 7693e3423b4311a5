"""Starting the page: its address, and the signals that end it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sr_core.files import REPOSITORY
from sr_core.ui import start
from sr_core.ui.sockets import address, listen
from sr_core.ui.start import serve


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this computer has no IPv6 address ::1")


def reached(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=30):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "there", "elsewhere"),
    [
        ("127.0.0.1", ["127.0.0.1"], ["::1"]),
        ("0.0.0.0", ["127.0.0.1"], ["::1"]),
        pytest.param("::1", ["::1"], ["127.0.0.1"], marks=ipv6),
        pytest.param("::", ["::1", "127.0.0.1"], [], marks=ipv6),
        ("localhost", ["localhost"], []),
    ],
)
def test_where_it_listens(host: str, there: list[str], elsewhere: list[str]) -> None:
    with ExitStack() as opened:
        sockets = [opened.enter_context(one) for one in listen(host, 0)]
        port = sockets[0].getsockname()[1]
        assert all(reached(one, port) for one in there)
        assert not any(reached(one, port) for one in elsewhere)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"), ("localhost", "http://localhost:80"),
        ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("::1", "http://[::1]:80"),
        ("fe80::2", "http://[fe80::2]:80"),
    ],
)  # fmt: skip
def test_the_address_can_be_opened(host: str, url: str) -> None:
    assert address(host, 80) == url


@pytest.mark.parametrize(
    ("asked", "host"),
    [("127.0.0.1", "127.0.0.1"), pytest.param("::1", "::1", marks=ipv6),
     pytest.param("[::1]", "::1", marks=ipv6), pytest.param("::", "::1", marks=ipv6)],
)  # fmt: skip
def test_a_busy_port_is_one_sentence(
    asked: str, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        assert serve(["--host", asked, "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot listen on {asked.strip('[]')}, port {port} (Address already in use): "
        "choose others with --host and --port.\n"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70, "192.0.2.1"])
def test_a_host_that_is_not_here_is_one_sentence(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(["--host", host]) == 1
    error = capsys.readouterr().err
    assert f"cannot listen on {host}, port 7860" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("port", ["0", "99999", "-1", "abc", "", "1e3", "٣", "9" * 5000])
def test_a_bad_port_is_one_sentence(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        serve([f"--port={port}"])
    assert "is no port: expected 1 to 65535" in capsys.readouterr().err
    monkeypatch.setenv("GRADIO_SERVER_PORT", port)
    with pytest.raises(SystemExit, match="2"):
        serve([])
    assert f"GRADIO_SERVER_PORT: {port!r} is no port: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["", " ", "http://localhost", "127.0.0.1:80", "a b", "[]", "[::1]:80", "a\nb", "*"]
)
def test_a_bad_host_is_one_sentence(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        serve([f"--host={host}"])
    assert "is no host: expected a name or an address" in capsys.readouterr().err
    monkeypatch.setenv("GRADIO_SERVER_NAME", host)
    with pytest.raises(SystemExit, match="2"):
        serve([])
    assert f"GRADIO_SERVER_NAME: {host!r} is no host" in capsys.readouterr().err


_APP = """
import sys, time
from pathlib import Path
from sr_core.ui import start

def page(engine):
    from sr_core.catalogue.store import Catalogue
    from sr_core.ui.page import build_page
    from sr_core.ui.search.sessions import Searches
    from sr_core.ui.server import make_server
    from tests.ui.search.made_up import STEADY, WAYS
    from dataclasses import replace
    global searches
    searches = Searches(Path("."), worker=sys.argv[4:])
    searches.start("ann", replace(STEADY, seed=WAYS.index("endless")))
    print(searches._of["ann"].pid, flush=True)
    return make_server(build_page(Catalogue(Path(sys.argv[3]))))

def slow(engine):
    print("building", flush=True)
    time.sleep(600)

start._server = {"page": page, "slow": slow}[sys.argv[1]]
sys.exit(start.serve(["--port", sys.argv[2]]))
"""


@contextmanager
def app(*command: object, before: tuple[str, ...] = ()) -> Generator[subprocess.Popen[str]]:
    """Run the app in a process; killed at the end, unless it ended."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", _APP, *map(str, command)], cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_the_page_and_its_searches(
    page_root: Path, worker: tuple[str, ...], name: str
) -> None:
    port = free_port()
    with app("page", port, page_root, *worker) as process:
        worker_pid = int(line(process))
        url = f"http://127.0.0.1:{port}"
        assert line(process) == f"UpFront runs at {url} (Ctrl-C ends it)."
        with urllib.request.urlopen(f"{url}/gradio_api/heartbeat/one") as stream:
            assert stream.readline() == b"data: ALIVE\n"  # a page is open
            process.send_signal(getattr(signal, name))
            assert process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker_pid, 0)


def test_a_signal_ends_the_page_while_it_starts() -> None:
    with app("slow", free_port()) as process:
        assert line(process) == "building"
        process.terminate()
        assert process.wait(60) == 0


def test_the_first_process_of_a_container_hears_sigterm() -> None:
    """The system gives it no default handlers."""
    as_first = ("unshare", "--map-root-user", "--pid", "--fork")
    if not shutil.which("unshare") or subprocess.run([*as_first, "true"], check=False).returncode:
        pytest.skip("unshare can make no process namespace here")
    with app("slow", free_port(), before=as_first) as process:
        assert line(process) == "building"
        task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(task.read_text()), signal.SIGTERM)
        assert process.wait(60) == 0


def test_what_cannot_be_interrupted_does_not_keep_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(start, "_LONGEST_STOP_S", 0)
    monkeypatch.setattr(os, "_exit", ended.append)

    def never(_: str) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(start, "_server", never)
    with pytest.raises(SystemExit):
        serve(["--port", str(free_port())])
    while not ended:
        pass
    assert ended == [0]
