"""Tab Findings says what the stored numbers say, whoever wins."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import write_ablations, write_search_bench
from sr_core.ui.findings import (
    ablations as ablation_facts,
)
from sr_core.ui.findings import (
    charts,
    sections,
)
from sr_core.ui.findings import (
    rivals as rival_facts,
)
from sr_core.ui.findings import (
    search as search_facts,
)
from sr_core.ui.findings.tab import NOTHING, Findings, answers, finals_result
from tests.tiny import write_manifest
from tests.ui.findings import made_up


class _Nesting(HTMLParser):
    """Fails where a tag is closed that was not the last to be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def shown(findings_root: Path) -> str:
    return "".join(answers(Catalogue(findings_root)))


def test_every_stored_question_is_answered_under_its_conditions(shown: str) -> None:
    assert shown.count("<section>") == 7
    assert shown.count("<figure") == 5
    assert shown.count("class='wide'") == 7
    parser = _Nesting()
    parser.feed(shown)
    assert [tag for tag in parser.open if tag not in ("br", "img")] == []
    for command in (
        "ablation schemes",
        "ablation ratios",
        "samplers --scale 4",
        "workers",
        "rivals",
        "engine --peers",
    ):
        assert f"python -m sr_core bench {command}" in shown
    for condition in ("AVX9", "ONNX Runtime 9", "2026-01-01", "at least 20 frames", "optuna 5"):
        assert condition in shown
    assert "Made-up &lt;processor&gt;" in shown
    assert "<processor>" not in shown


def test_a_missing_file_leaves_its_section_out(catalogue: Catalogue) -> None:
    assert "".join(answers(catalogue)).count("<section>") == 1, "the engine's"
    catalogue.engine_benches = ()
    assert "".join(answers(catalogue)) == ""
    for command in ("ablation", "samplers", "workers", "rivals", "engine", "publish-final"):
        assert command in NOTHING
    assert Findings(catalogue)


@pytest.mark.parametrize(
    ("block_db", "block_ms", "lead", "words"),
    [
        (28.4, 12.0, "Yes: fine-grained", "Block beats channel: 28.45 dB in 12.0 ms against 28.25"),
        (28.2, 12.0, "No clear difference", "Block is level with channel"),
        (27.0, 12.0, "No clear difference", "Block loses to channel: 27.05 dB"),
        (28.4, 12.3, "Yes: fine-grained pruning pays. Best: block.", "in 12.0 ms, 2.5% slower"),
        (28.4, 15.0, "No clear difference", "not at equal latency: it is 25% slower"),
        (27.0, 9.0, "No clear difference", "not at equal latency: it is 25% faster"),
    ],
)
def test_sparse_may_win_or_lose(block_db: float, block_ms: float, lead: str, words: str) -> None:
    found, text = ablation_facts.result(made_up.schemes(block_db, block_ms))
    assert found.startswith(lead)
    assert words in text
    assert "widths aligned: " in text
    assert "means of 3 runs" in text


def test_another_family_than_the_best_does_not_win() -> None:
    """Pattern beats channel clearly, but the best family by its mean does not."""
    ablation = made_up.schemes(28.4)
    gains_db = {"block": (0.0, 1.0, 2.0), "pattern": (0.5, 0.5, 0.5), "channel": (0.3, 0.2, 0.1)}
    runs = [
        run.model_copy(update={"fine_tuned_db": 28 + gains_db[run.label][run.seed]})
        for run in ablation.trained
    ]
    found, text = ablation_facts.result(ablation.model_copy(update={"trained": tuple(runs)}))
    assert found == "No clear difference."
    assert "Pattern beats channel" in text


def test_channel_pruning_with_a_pruned_tail_stays_the_rival() -> None:
    ablation = made_up.schemes(28.4)
    old, tailed = ablation.of("pattern")[0].network, {"network": "x4c16_wc50c50d_s_tb50"}
    renamed = {
        "trained": tuple(
            one.model_copy(update=tailed) if one.network == old else one for one in ablation.trained
        ),
        "timed": tuple(
            one.model_copy(update=tailed) if one.network == old else one for one in ablation.timed
        ),
    }
    _, text = ablation_facts.result(ablation.model_copy(update=renamed))
    assert "Pattern" not in text
    assert "Block beats" in text


def test_families_of_unequal_runs_have_no_winner() -> None:
    ablation = made_up.schemes(28.9)
    fewer = tuple(r for r in ablation.trained if r.label != "block" or r.seed)
    found, text = ablation_facts.result(ablation.model_copy(update={"trained": fewer}))
    assert found == "No clear difference."
    assert "means of 2 to 3 runs; where a family has more" in text


def test_results_of_earlier_weights_are_marked(
    shown: str, findings_root: Path, tmp_path: Path
) -> None:
    assert "earlier weights" not in shown
    root = shutil.copytree(findings_root, tmp_path / "root")
    write_ablations(root, [made_up.schemes()])
    write_search_bench(root, made_up.samplers())
    write_search_bench(root, made_up.workers())
    write_manifest(root)
    assert "".join(answers(Catalogue(root))).count("(Of earlier weights than") == 3
    names = {
        problem.partition(" ")[0]
        for problem in verify(Catalogue(root))
        if "is of earlier x4 weights: run `bench" in problem
    }
    assert names == {f"results/{name}.json" for name in ("ablations", "samplers", "workers")}


@pytest.mark.parametrize("name", ["ablations", "samplers", "workers", "engine-avx2", "published"])
def test_verify_reads_every_file_of_results(findings_root: Path, tmp_path: Path, name: str) -> None:
    root = shutil.copytree(findings_root, tmp_path / "root")
    (root / f"results/{name}.json").write_text("{")
    write_manifest(root)
    assert any(f"{name}.json" in problem for problem in verify(Catalogue(root)))


def test_channel_pruning_wins_where_all_others_lose() -> None:
    ablation = made_up.schemes(27.0)
    kept = tuple(run for run in ablation.trained if run.label != "pattern")
    found, _ = ablation_facts.result(ablation.model_copy(update={"trained": kept}))
    assert found == "No: channel pruning is better."
    alone = tuple(run for run in ablation.trained if run.label == "block")
    found, text = ablation_facts.result(ablation.model_copy(update={"trained": alone}))
    assert found == ""
    assert "nothing to compare" in text


@pytest.mark.parametrize(
    ("stage3_db", "lead"),
    [
        (28.8, "Yes: ratios per layer pay. Best: stage 3."),
        (28.3, "No: one ratio everywhere is better."),
    ],
)
def test_one_ratio_is_recognised_by_its_networks(stage3_db: float, lead: str) -> None:
    found, text = ablation_facts.result(made_up.ratios(stage3_db))
    assert found == lead
    assert "one ratio: " in text


def test_who_leads_the_samplers_and_whether_clearly() -> None:
    clear = search_facts.sampler_result(made_up.samplers())
    assert "bayes leads after 200 evaluations" in clear
    assert "all its seeds are better (3 seeds)" in clear
    assert "A proposal takes 200 ms with bayes" in clear
    close = search_facts.sampler_result(made_up.samplers(bayes=27.8))
    assert "nsga2 leads" in close
    assert "no clear win" in close


def test_rivals_may_be_faster() -> None:
    assert "2.5 to 3.1 times as fast" in rival_facts.result(made_up.rivals())
    slower = rival_facts.result(made_up.rivals(speed_up=0.8))
    assert "0.8 to 3.1 times as fast" in slower
    assert "1 of 2 are faster" in slower
    assert "None of ours reaches the PSNR of sesr-m11-x4" in slower
    trained = (
        "100 steps from scratch, ours come from supernets of 2,000 (x4) steps, x4-10ms, x4-12k "
        "with 20 to 30 more, on the same images"
    )
    assert trained in rival_facts.rival_section(made_up.rivals())


def test_what_fine_tuning_gained(findings_root: Path) -> None:
    tuned = Catalogue(findings_root).finals()
    assert "by +0.60 dB (mean +0.60 dB)" in finals_result(tuned)
    assert "2 of 2 networks become better" in finals_result(tuned)


def test_marks_lie_where_their_values_are() -> None:
    marks = [charts.Mark(1.0, "before", "1 <dB>"), charts.Mark(3.0, "after", "3 dB")]
    shown = charts.dots([("<a>", marks)], {"before": "then"}, "dB:", "1 to 3")
    first, second = (  # before them comes the legend
        float(x) for x in re.findall(r"(?:cx|rect class='after' x)='([\d.]+)%'", shown)[1:]
    )
    assert "<span>0.5</span><span>3.5</span>" in shown  # round numbers around 1 and 3
    assert (first, second) == pytest.approx((100 / 6, 500 / 6), abs=0.02)
    assert "&lt;a&gt;" in shown
    assert "1 &lt;dB&gt;" in shown


def test_a_curve_starts_where_it_is_told_and_has_few_steps() -> None:
    values = np.linspace(0, 1, 1000)
    shown = charts.curves([charts.Curve("a", values, values, values)], 101, ("n", "hv"), "about")
    line = re.findall(r"class='line c0' d='M(0\.0,[^']*)'", shown)[0].split("L")
    assert len(line) <= 150
    assert line[0] == "0.0,200.0"
    assert line[-1] == "600.0,0.0"


def test_tables_of_the_readme_become_html() -> None:
    shown = sections.markdown_table("T", "| a | b |\n| --- | --: |\n| **x<** | `y` |")
    assert "<th scope=row><b>x&lt;</b></th><td><code>y</code></td>" in shown
