"""Stands in for `python -m sr_core ... search --events`, with made-up events from a file.

    python fake_worker.py EVENTS --root ROOT search --seed SEED ...

EVENTS has a line for `start` and one for each trial. The seed, a place in `WAYS`, decides how it
goes: `steady` gives a trial every 20 ms, `endless` sleeps for ever after `ENDLESS_AFTER` of them,
`crash` ends in its fourth, `refused` gives an error, and `babble` something else than events.
Imports nothing slow.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

WAYS = ("steady", "endless", "crash", "refused", "babble")
ENDLESS_AFTER = 6
"""Trials."""


def main() -> int:
    """Read the command line as the real one does, and tell the events."""
    args = _args()
    way = WAYS[args.seed]
    if way == "refused":
        _tell({"event": "error", "message": "The cheapest network <x> takes 5 ms."})
        return 1
    if way == "babble":
        sys.stdout.write("hello\n")
    study = Path(args.storage.removeprefix("sqlite:///"))
    assert study.exists() == args.resume
    before = int(study.read_text()) if args.resume else 0
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    start, *trials = map(json.loads, args.events_file.read_text().splitlines())
    asked = {name: getattr(args, name) for name in ("study", "scale", "objective", "budget_ms")}
    asked |= {name: getattr(args, name) for name in ("sampler", "trials", "seed")}
    _tell({**start, **asked, "finished_before": before})
    done = 0
    while done < args.trials and not stop.is_set():
        if done >= before:
            _work(way, done)
        _tell(trials[done])
        done += 1
        study.write_text(str(done))
    Path(args.out).write_text(f"{done} trials")
    _tell({"event": "end", "trials": done, "evaluated": done, "hypervolume": 1.0, "seconds": 1.0})
    return 0


def _args() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("events_file", type=Path)
    for name in (
        "root",
        "objective",
        "sampler",
        "storage",
        "study",
        "engine",
        "out",
        "schemes",
        "colour",
    ):
        parser.add_argument(f"--{name}", required=True)
    for name in ("scale", "trials", "seed", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("command", choices=["search"])
    parser.add_argument("--budget-ms", type=float)
    parser.add_argument("--events", action="store_true", required=True)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def _work(way: str, done: int) -> None:
    time.sleep(0.02)
    if way == "crash" and done == 3:
        os._exit(9)
    if way == "endless" and done == ENDLESS_AFTER:
        time.sleep(3600)


def _tell(event: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
