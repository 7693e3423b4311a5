"""Run the Dockerfile's steps without Docker, in a plain folder as the user of a Space.

Installs what it installs, starts what it starts as user 1000, asks the health check, prints the
megabytes, and ends the page with SIGTERM. Run it with the system's Python, as root or not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
USER = 1000
START_S, END_S = 120, 20
ADDRESS = "http://127.0.0.1:7860/healthz"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, with their lines joined."""
    text = re.sub(r"\\\n\s*", "", (REPOSITORY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


class Container:
    """A folder that stands for the container's root, with a virtual environment for its Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp, self.app, self.venv = root / "tmp", root / "app", root / "venv"
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)
        venv.create(self.venv, with_pip=True)
        self.bare_mb = megabytes(self.venv)
        self.env = {
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}", "HOME": str(self.app),
            "LANG": "C.UTF-8", "TMPDIR": str(self.tmp), "PIP_QUIET": "1",
        }  # fmt: skip
        for name, value in os.environ.items():  # how this computer reaches a package index
            if name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy"):
                self.env[name] = value

    def build(self) -> None:
        """Run all instructions up to the command."""
        for word, rest in instructions():
            if word == "COPY" and rest.endswith(" . ."):
                self._copy_checkout()
            elif word == "COPY":
                name, _ = rest.split()
                shutil.copy(REPOSITORY / name, self.tmp)
            elif word == "ENV":
                self.env |= dict(pair.split("=", 1) for pair in rest.split())
            elif word == "RUN" and not rest.startswith("useradd"):  # the user need not exist
                self.run(rest.replace("/tmp/", f"{self.tmp}/"))
            elif word not in ("FROM", "RUN", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "CMD"):
                raise SystemExit(f"Dockerfile: {word} is new to .ci/space.py: teach it.")

    def _copy_checkout(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            target = self.app / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", str(self.app)], check=True)

    def run(self, command: str) -> None:
        """Run a shell command, and fail with it."""
        subprocess.run(command, shell=True, env=self.env, cwd=self.tmp, check=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the Dockerfile's command as the user of a Space."""
        command = json.loads(dict(instructions())["CMD"])
        user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.Popen(command, env=self.env, cwd=self.app, **user)


def megabytes(folder: Path) -> float:
    """Return the size of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def wait_for_page(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Return what the health check says, once it does."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(ADDRESS, timeout=4) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"The page did not start in {START_S} s (exit code {process.poll()}).")


def main() -> None:
    """Build, start, ask, report, end."""
    with tempfile.TemporaryDirectory(prefix="space-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # another user works in it
        container = Container(root)
        began = time.monotonic()
        container.build()
        installed_s = time.monotonic() - began
        if any(container.venv.glob("lib/*/site-packages/torch")):
            raise SystemExit("A Space never trains, but torch was installed.")
        process = container.start()
        try:
            health = wait_for_page(process)
            process.terminate()
            code = process.wait(END_S)
        finally:
            process.kill()
        if health.get("status") != "ok" or code != 0:
            raise SystemExit(f"The page says {health}, and ended with {code} at SIGTERM.")
        packages_mb = megabytes(container.venv) - container.bare_mb
        print(
            f"Space: {packages_mb:.0f} MB of packages in {installed_s:.0f} s, and "
            f"{megabytes(container.app):.0f} MB of UpFront; runs as user {USER}, computes with "
            f"{health['runtime']}, ends at SIGTERM."
        )


if __name__ == "__main__":
    sys.exit(main())
