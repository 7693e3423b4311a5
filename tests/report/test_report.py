"""Tables and sentences of stored results that docs/ shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sr_core.catalogue.final import Final, Predecessor
from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Family
from sr_core.report import engine, facts, tables
from sr_core.results.ablations import Ablation
from sr_core.results.engine import EngineBench


@pytest.fixture(scope="module")
def stored() -> Catalogue:
    return Catalogue()


def rows(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_every_published_network_stands_beside_one_of_no_more_macs(stored: Catalogue) -> None:
    found = rows(tables.published_table(stored))
    assert len(found) == len(stored.published_models)
    for _, _, macs_g, *_, name, own_macs_g, _, _ in found:
        assert name != "none"
        assert float(own_macs_g) <= float(macs_g)


def test_the_best_final_model_is_that_of_the_validation_crops(stored: Catalogue) -> None:
    finals = stored.finals(Family(4))
    best = tables.best_final(finals, 1e9)
    assert best is not None
    expected = max(f.descriptor.validation_psnr_y_db["fine_tuned"] for f in finals)
    assert best.descriptor.validation_psnr_y_db["fine_tuned"] == expected
    assert tables.best_final(finals, 0.1) is None


def test_changes_list_what_took_another_models_place(
    stored: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    finals = stored.finals(Family(4))[:2]
    bigger, smaller = finals[1], finals[0]
    earlier = Predecessor(
        network=bigger.descriptor.network, model_id=bigger.id, quality=list(bigger.quality)
    )
    now = smaller.descriptor.model_copy(update={"predecessor": earlier})
    new = replace(bigger, descriptor=bigger.descriptor.model_copy(update={"predecessor": None}))
    monkeypatch.setattr(stored, "finals", lambda: [Final(smaller.network, now), new])
    ((name, params, _, set5_db, _, ms, share),) = rows(tables.changes_table(stored))
    assert name == f"`{smaller.name}`"
    before, after = (float(text.split()[0]) for text in params.split(" → "))
    assert (before, after) == pytest.approx(
        (bigger.params_kept / 1e3, smaller.params_kept / 1e3), abs=0.05
    )
    assert set5_db.split(" → ")[0] == f"{tables.set5_db(bigger):.2f}"
    was_ms, is_ms = (float(text) for text in ms.split(" → "))
    assert float(share) == pytest.approx(is_ms / was_ms, abs=0.02)


def test_samplers_come_with_the_best_first(stored: Catalogue) -> None:
    assert stored.sampler_bench is not None
    found = rows(tables.samplers_table(stored.sampler_bench))
    medians = [float(row[1]) for row in found]
    assert len(found) == 4
    assert medians == sorted(medians, reverse=True)


def test_profiles_table_has_a_row_per_number_of_threads(stored: Catalogue) -> None:
    found = rows(tables.profiles_table(stored))
    shipped = tables.shipped_devices(stored)
    assert len(found) == sum(len(device.settings) for device in shipped)
    assert {row[0] for row in found} == {f"`{device.id}`" for device in shipped}


def test_networks_under_a_budget_keep_it_by_estimate(stored: Catalogue) -> None:
    table = tables.budgets_table(stored, Family(2))
    for _, budget, _, time, _ in rows(table):
        assert time == "-" or float(time.split()[0]) <= float(budget.removesuffix(" ms"))
    assert tables.budgets_table(Catalogue(stored.root / "no-such-folder"), Family(2)) == ""


def changed(ablation: Ablation, gain_db: float) -> Ablation:
    """With the first family's quality moved by `gain_db`."""
    first = ablation.labels[0]
    moved = [
        run.model_copy(update={"fine_tuned_db": run.fine_tuned_db + gain_db})
        if run.label == first
        else run
        for run in ablation.trained
    ]
    return ablation.model_copy(update={"trained": tuple(moved)})


@pytest.mark.parametrize(
    ("gain_db", "expected"),
    [
        (1.0, "dB above *channel*|Every run of *block and pattern* is better"),
        (-1.0, "dB below *channel*|Every run of *block and pattern* is worse"),
        (-0.11, "level with *channel*|ranges of the runs"),
    ],
)
def test_sentences_follow_the_numbers(stored: Catalogue, gain_db: float, expected: str) -> None:
    schemes = next(one for one in stored.ablations if one.question == "schemes")
    first, other, _ = schemes.labels
    means = [
        sum(run.fine_tuned_db for run in schemes.of(label)) / len(schemes.of(label))
        for label in (first, other)
    ]
    exact_db = means[1] - means[0] if gain_db == -0.11 else gain_db
    text = facts.ablation_facts(changed(schemes, exact_db))
    for part in expected.split("|"):
        assert part in text


def test_engine_facts_leave_out_what_was_not_timed(stored: Catalogue) -> None:
    first = stored.engine_benches[0]
    full = engine.facts(stored, [first])
    update: dict[str, Any] = {"rows": first.rows[:1], "frames": (), "sittings": ()}
    bench: EngineBench = first.model_copy(update=update)
    text = engine.facts(stored, [bench])
    assert "0 of its 7 speed targets; 7 were not measured" in text
    assert "at nearly equal MACs" in full
    assert "at nearly equal MACs" not in text
    assert "drift" in full
    assert "drift" not in text
