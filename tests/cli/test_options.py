"""Dataclass fields as options of the command line, and back as words."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from sr_core.cli.options import add_options, settings_of
from sr_core.cli.search import add_search_options
from sr_core.cli.train import add_train_options, run_options
from sr_core.options import option, words
from sr_core.pruning.settings import FinetuneArgs, PruneArgs
from sr_core.rivals.settings import RivalArgs
from sr_core.search.settings import SearchArgs
from sr_core.supernet.settings import TrainArgs
from sr_core.training.settings import RunArgs, command

RUN: dict[str, Any] = {"data": Path("a b/train"), "val": Path("val"), "out": Path("run")}


def searching(words: list[str]) -> SearchArgs:
    parser = argparse.ArgumentParser()
    add_search_options(parser)
    return settings_of(parser.parse_args(words), SearchArgs)


def training(words: list[str], kind: type[RunArgs]) -> RunArgs:
    parser = argparse.ArgumentParser()
    if kind in (TrainArgs, RivalArgs):
        add_train_options(parser)
    else:
        add_options(parser, kind)
    return run_options(parser.parse_args(words), kind)


@pytest.mark.parametrize(
    "args",
    [
        SearchArgs(scale=2),
        SearchArgs(
            scale=4, val=Path("my photos"), sampler="tpe", objective="phone", budget_ms=12.5,
            trials=7, seed=3, threads=2, schemes=("dense", "block"), ratio_per_layer_kind=True,
            storage="sqlite:///s.db", study="mine", resume=True, out=Path("r.json"), engine="onnx",
        ),
        SearchArgs(storage="sqlite:///s.db", study="mine", worker=True),
    ],
)  # fmt: skip
def test_a_search_goes_to_words_and_back(args: SearchArgs) -> None:
    assert searching(words(args)) == args


@pytest.mark.parametrize(
    "args",
    [
        TrainArgs(**RUN, source_weights={"few": 0.5, "many": 2.0}, resume=True),
        RivalArgs(**RUN, lr=1e-5, init_from=None),
        FinetuneArgs(**RUN, model="x4c16_2w", init_from=Path("final.safetensors")),
        PruneArgs(**RUN, candidate="x4c16_2w", device="phone", budget_ms=12.5, uniform=True),
    ],
)
def test_a_training_goes_to_words_and_back(args: RunArgs) -> None:
    assert training(words(args), type(args)) == args


def test_a_stored_command_of_training_has_placeholders_for_places() -> None:
    repeated = command(FinetuneArgs(**RUN, model="x4c16_2w", init_from=Path("mine.safetensors")))
    start = "python -m sr_core finetune --data DATA/train --val DATA/val --out RUN --steps 10000 "
    assert repeated.startswith(start)
    assert " --lr 0.0015 " in repeated
    assert repeated.endswith(" --init-from FINAL --distill 0 --model x4c16_2w")


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (
            SearchArgs(scale=4, val=Path("v"), storage="sqlite:///s.db", threads=3),
            "--scale 4 --val DATA/val --sampler nsga2 --objective macs --trials 600 --seed 0",
        ),
        (
            SearchArgs(
                scale=2, objective="phone", budget_ms=9.5, schemes=("dense", "block"),
                ratio_per_layer_kind=True, engine="onnx", out=Path("mine.json"),
            ),
            "--scale 2 --sampler nsga2 --objective phone --budget-ms 9.5 --trials 600 --seed 0 "
            "--schemes dense,block --ratio-per-layer-kind --engine onnx --out RESULT.json",
        ),
        (
            SearchArgs(scale=4, sampler="presets", trials=5, seed=5, schemes=("dense",)),
            "--scale 4 --sampler presets --objective macs --out RESULT.json",
        ),
    ],
)  # fmt: skip
def test_a_stored_command_of_a_search_repeats_it_anywhere(args: SearchArgs, options: str) -> None:
    assert args.command == f"python -m sr_core search {options}"
    assert searching(shlex.split(options)).command == args.command


def test_every_setting_of_a_search_has_its_option() -> None:
    parser = argparse.ArgumentParser()
    add_search_options(parser)
    assert {item.name for item in fields(SearchArgs)} <= vars(parser.parse_args([])).keys()


def test_schemes_come_in_menu_order_with_dense_and_unknown_ones_last() -> None:
    parser = argparse.ArgumentParser()
    add_search_options(parser)
    asked = parser.parse_args(["--schemes", "pattern, block,blok"])
    assert asked.schemes == ("dense", "block", "pattern", "blok")


@dataclass(frozen=True)
class Odd:
    size: tuple[int, int] = option((1, 2), "two numbers")
    either: int | str | None = option(None, "one or the other")
    hidden: list[int] = field(default_factory=list[int], init=False)


@pytest.mark.parametrize(("name", "other"), [("size", "either"), ("either", "size")])
def test_a_type_without_an_option_is_refused(name: str, other: str) -> None:
    with pytest.raises(TypeError, match=rf"No option can be made of Odd\.{name}, which is .*int"):
        add_options(argparse.ArgumentParser(), Odd, but=(other,))


def test_what_cannot_be_given_has_no_option() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Odd, but=("size", "either"))
    assert vars(parser.parse_args([])) == {}


@dataclass(frozen=True)
class Told:
    share: float = option(0.5, "up to 100 % of it")
    name: str = option("a", "a by default")
    limit: int | None = option(None, "at most", metavar="N")


def test_help_tells_a_default_once() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Told)
    text = " ".join(parser.format_help().split())
    assert (
        "--share SHARE up to 100 % of it (default 0.5) --name NAME a by default --limit N" in text
    )
    assert text.endswith("at most")
