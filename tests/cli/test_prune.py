"""`prune`, `finetune`, `publish-final` and what the catalogue makes of final models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from sr_core.catalogue.final import read_final, write_final
from sr_core.catalogue.store import Catalogue, Model
from sr_core.catalogue.verify import verify
from sr_core.cli.main import main
from sr_core.errors import CatalogueError
from sr_core.network.candidate import Family
from sr_core.network.extract import extract
from sr_core.network.notation import from_text, to_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.report.tables import finals_table
from tests import tiny
from tests.cli.test_main import Shell
from tests.search.profiles import install, on_engine
from tests.tiny import write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = "x4c16_wc50b30p70_rc25u60_tb40"
NAME = "x4-tiny"


@pytest.fixture(scope="module")
def root(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A precomputed folder with a device; only to be read."""
    root = shutil.copytree(tiny_root, tmp_path_factory.mktemp("root") / "precomputed")
    install(root, on_engine())
    write_manifest(root)
    return root


@pytest.fixture(scope="module")
def tuned(root: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a `finetune`; only to be read."""
    run = tmp_path_factory.mktemp("runs") / "run"
    words = ["--root", root, "finetune", "--model", TEXT, *training(photos, run)]
    assert main([str(word) for word in words]) == 0
    return run


@pytest.fixture(scope="module")
def full_root(root: Path, tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A precomputed folder with a final model; only to be read."""
    full = shutil.copytree(root, tmp_path_factory.mktemp("full") / "precomputed")
    images = tiny.save_benchmark(tmp_path_factory.mktemp("benchmark"), 4)
    words = ["--root", full, "publish-final", tuned / "final.safetensors", "--name", NAME,
             "--benchmark", images]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return full


def training(photos: Path, out: Path) -> list[object]:
    return [
        "--data", photos / "train", "--val", photos / "val", "--out", out, "--steps", 2,
        "--patch", 8, "--batch", 2, "--warmup", 1, "--validate-every", 1, "--precision", "fp32",
    ]  # fmt: skip


def test_final_models_are_listed_and_used(
    full_root: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(full_root, capsys)
    row = shell.json("models")[-1]
    final = read_final(tuned / "final.safetensors")
    assert (row["kind"], row["name"], row["id"]) == ("final", NAME, final.id)
    assert re.search(rf"^{NAME} +{final.id} +final ", shell("models"), re.M)
    assert shell.json("verify")["ok"]
    source = tiny.save_drawn(tmp_path / "in.png", 20, 15)
    outputs: list[bytes] = []
    for number, reference in enumerate((NAME, final.id, tuned / "final.safetensors", TEXT)):
        out = tmp_path / f"{number}.png"
        text = shell("upscale", source, out, "--model", reference)
        outputs.append(out.read_bytes())
        assert (final.id in text) == (reference != TEXT)
    assert outputs[0] == outputs[1] == outputs[2] != outputs[3]
    described = shell.json("describe", "--model", NAME)
    assert described["id"] == final.candidate.id
    assert f"{row['params_kept']:,}" in shell("describe", "--model", NAME)
    assert shell("estimate", "--model", NAME) == shell("estimate", "--model", TEXT)
    hr = tiny.save_benchmark(tmp_path / "images", 4) / "Set5/HR"
    scored = json.loads(shell("evaluate", "--model", NAME, "--hr", hr, "--json"))
    assert scored["model"] == final.id
    assert "x4-tiny" in shell.error("describe", "--model", "x4-none")


def test_the_log_of_the_training_is_published(full_root: Path, tuned: Path) -> None:
    log = (full_root / f"models/{NAME}.csv").read_text()
    assert log == (tuned / "log.csv").read_text()
    assert log.splitlines()[-1].startswith("2,")


def test_published_results_are_of_both_selves(full_root: Path) -> None:
    catalogue = Catalogue(full_root)
    (final,) = catalogue.finals()
    assert catalogue.finals(Family(4)) == [final]
    assert catalogue.finals(Family(2)) == []
    assert catalogue.network_of(NAME).model_id == final.id
    before = catalogue.network(from_text(TEXT)).model_id
    for results, identity in ((final.quality, final.id), (final.once_for_all, before)):
        assert [q.image_set for q in results] == ["Set5", "Set14", "BSD100"]
        assert {(q.model_id, q.protocol) for q in results} == {(identity, PROTOCOL)}
    assert final.quality != final.once_for_all
    table = finals_table(catalogue)
    (line,) = [line for line in table.splitlines() if NAME in line]
    assert f"{final.params_kept / 1e3:.1f} K" in line
    assert f"| {final.once_for_all[0].psnr_y:.2f} |" in line
    assert re.search(r"\| \d+\.\d \(\d+\.\d to \d+\.\d\) \|$", line)


def test_the_table_has_final_models_once_there_are_some(
    root: Path, full_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "fine-tuned model" not in Shell(root, capsys)("table")
    assert finals_table(Catalogue(full_root)) in Shell(full_root, capsys)("table")


def test_finals_are_sorted_by_kept_parameters(full_root: Path, tmp_path: Path) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    add(own, "x4-a-large", "x4c16_2w")
    add(own, "x4-small", "x4c16_s_rp60b90")
    assert [f.name for f in Catalogue(own).finals()] == ["x4-small", NAME, "x4-a-large"]


def add(root: Path, name: str, text: str) -> None:
    """Another final model, of once-for-all weights and without results."""
    catalogue = Catalogue(root)
    described = catalogue.finals()[0].descriptor.model_dump() | {"name": name, "quality": []}
    described["once_for_all_quality"] = []
    network = extract(catalogue.supernet(Family(4)), from_text(text))
    write_final(root / f"models/{name}.safetensors", network, described)
    write_manifest(root)


def edit(**changes: Any) -> Callable[[Path], None]:
    """Change the descriptor."""

    def change(folder: Path) -> None:
        path = folder / f"{NAME}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def edit_row(key: str, field: str, value: object) -> Callable[[Path], None]:
    """Change a result in the descriptor."""

    def change(folder: Path) -> None:
        path = folder / f"{NAME}.json"
        described = json.loads(path.read_text())
        described[key][0][field] = value
        path.write_text(json.dumps(described))

    return change


def unlink(folder: Path) -> None:
    (folder / f"{NAME}.json").unlink()


def spoil(folder: Path) -> None:
    (folder / f"{NAME}.safetensors").write_bytes(b"x")


def rename(folder: Path) -> None:
    for suffix in (".json", ".safetensors"):
        (folder / f"{NAME}{suffix}").rename(folder / f"x4-wide{suffix}")
    path = folder / "x4-wide.json"
    path.write_text(path.read_text().replace(NAME, "x4-wide"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit(licence=""), f"models/{NAME}.json has no licence note: publish it again."),
        (edit(name="other"), "x4-tiny.json is of 'other': expected its own file name"),
        (edit(training=[]), r"x4-tiny.json is damaged \(training: "),
        (edit(weights_sha256="0" * 64), "is not the file that x4-tiny.json describes"),
        (edit(supernet_sha256="0" * 64), "compares itself with other weights than it started"),
        (edit_row("quality", "model_id", "a-b"), "holds results of other weights"),
        (edit_row("quality", "protocol", "mine"), "holds results of another protocol than"),
        (edit_row("quality", "psnr_y", "good"), r"x4-tiny.json is damaged \(quality.0.psnr_y: "),
        (
            edit_row("once_for_all_quality", "n", 0),
            r"x4-tiny.json is damaged \(once_for_all_quality.0.n: ",
        ),
        (rename, "models/x4-wide.json has the name of a model of the supernet"),
        (unlink, "models/x4-tiny.json does not match"),
        (spoil, "x4-tiny.safetensors is damaged"),
    ],
)
def test_verify_finds_damage(
    full_root: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    change(own / "models")
    write_manifest(own)  # so that it is not the checksum that gives it away
    problems = verify(Catalogue(own))
    assert len(problems) == 1
    assert re.search(message, problems[0])
    assert problems[0].endswith(".")


def test_changed_files_do_not_match_the_manifest(full_root: Path, tmp_path: Path) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    (own / f"models/{NAME}.safetensors").write_bytes(b"x")
    with pytest.raises(CatalogueError, match=r"models/x4-tiny.safetensors does not match"):
        Catalogue(own).finals()
    assert f"models/{NAME}.safetensors does not match" in verify(Catalogue(own))[0]


def test_publishing_refuses_other_names_and_forgets_other_weights(
    full_root: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    shell, images = Shell(own, capsys), tiny.save_benchmark(tmp_path / "benchmark", 4)
    words = ["publish-final", tuned / "final.safetensors", "--benchmark", images, "--name"]
    assert "x4-wide is a model of the supernet" in shell.error(*words, "x4-wide")
    assert "cannot be called 'X 4'" in shell.error(*words, "X 4")
    described = read_final(tuned / "final.safetensors").descriptor.model_dump()
    write_final(
        tmp_path / "final.safetensors",
        read_final(tuned / "final.safetensors").network,
        described | {"supernet_sha256": "3" * 64},
    )
    words[1] = tmp_path / "final.safetensors"
    assert "once for all" not in shell(*words, "x4-older")
    final = Catalogue(own).final("x4-older")
    assert final is not None
    assert final.once_for_all == ()
    assert verify(Catalogue(own)) == []
    assert "| - |" in finals_table(Catalogue(own))


def test_fine_tuning_goes_on_from_files_and_names(
    full_root: Path, tuned: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(full_root, capsys)
    words = ["finetune", "--model", NAME, *training(photos, tmp_path / "a"), "--json"]
    lines = [json.loads(line) for line in shell(*words).splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert {"loss_l1", "psnr_db"} <= lines[0].keys()
    described = read_final(tmp_path / "a/final.safetensors").descriptor
    assert len(described.training) == 2
    assert f"--model {NAME}" in described.reproduction
    assert "holds a checkpoint" in shell.error(*words)
    candidate = tmp_path / "candidate.json"
    candidate.write_text(json.dumps(from_text(TEXT).to_json()))
    words = ["finetune", "--model", candidate, *training(photos, tmp_path / "b")]
    shell(*words, "--init-from", tuned / "final.safetensors")
    words = ["finetune", "--model", tuned / "final.safetensors", *training(photos, tmp_path / "d")]
    shell(*words)
    one, two = (read_final(tmp_path / f"{name}/final.safetensors") for name in "bd")
    assert one.id == two.id
    assert f"--model {TEXT}" in one.descriptor.reproduction == two.descriptor.reproduction
    loud = shutil.copytree(tuned, tmp_path / "loud")
    (loud / "final.safetensors").rename(loud / "final.SAFETENSORS")
    words = ["finetune", "--model", loud / "final.SAFETENSORS", *training(photos, tmp_path / "e")]
    assert "are both files of weights" in shell.error(
        *words, "--init-from", tuned / "final.safetensors"
    )
    shell(*words)
    assert read_final(tmp_path / "e/final.safetensors").id == one.id
    other = from_text("x4c16_2w")
    words = ["finetune", "--model", to_text(other), *training(photos, tmp_path / "c")]
    message = shell.error(*words, "--init-from", tuned / "final.safetensors")
    assert f"--init-from holds {TEXT}, --model is another network" in message
    assert "none.json is missing" in shell.error(*words, "--init-from", "none.safetensors")
    assert "There is no model 'x4-none'" in shell.error(*words, "--model", "x4-none")


def test_a_final_is_published_with_its_sensitivity(
    root: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, text = shutil.copytree(root, tmp_path / "precomputed"), "x4c16_rb50b50_s_tb40"
    shell, images = Shell(own, capsys), tiny.save_benchmark(tmp_path / "benchmark", 4)
    budget_ms = estimated_ms(shell, text)
    words = ["prune", "--candidate", text, "--device", "engine", "--threads", 2, "--budget-ms",
             budget_ms, "--uniform", "--finetune-steps", 1]  # fmt: skip
    shell(*words, *training(photos, tmp_path / "run"))
    words = ["publish-final", tmp_path / "run/final.safetensors", "--name", "x4-own",
             "--benchmark", images, "--val", photos / "val"]  # fmt: skip
    shell(*words)
    catalogue = Catalogue(own)
    final = catalogue.final("x4-own")
    assert final is not None
    stage_3 = catalogue.stage_3(final)
    assert stage_3 is not None
    assert (stage_3.method, stage_3.device) == ("one ratio", "engine")
    layers = [name for name, pruning in final.candidate.layers() if pruning.scheme != "dense"]
    assert [curve.layer for curve in stage_3.curves] == layers
    assert verify(catalogue) == []
    path = own / "models/x4-own.stage3.json"
    path.write_text(path.read_text().replace('"tail"', '"head"'))
    write_manifest(own)
    assert "has curves of other layers" in " ".join(verify(Catalogue(own)))


def test_a_final_goes_on_with_a_pruned_input_skip(
    full_root: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    shell, text = Shell(own, capsys), f"{TEXT}_ib80"
    start = own / f"models/{NAME}.safetensors"
    words = ["finetune", "--model", text, "--init-from", start, *training(photos, tmp_path / "a")]
    described = own / "supernets/x4.json"
    fields = json.loads(described.read_text())
    fields["spec"]["skip_schemes"] = ["dense", "block"]
    described.write_text(json.dumps(fields))
    write_manifest(own)
    assert "run `python -m sr_core moments` first" in shell.error(*words)
    shell("moments", "--data", photos / "train", "--source-weights", "few=0")
    shell(*words)
    final = read_final(tmp_path / "a/final.safetensors")
    assert final.descriptor.network == text
    assert final.network.input_skip.mask.mean() == pytest.approx(0.2, abs=0.02)
    assert len(final.descriptor.training) == 2
    taps = final.network.input_skip.weight.reshape(3, 16, 3, 25).sum((2, 3))
    dense = read_final(start).network.input_skip.weight.reshape(3, 16, 3, 25).sum((2, 3))
    np.testing.assert_allclose(taps, dense, atol=0.1)


def estimated_ms(shell: Shell, model: object) -> float:
    words = ("estimate", "--model", model, "--device", "engine", "--threads", 2, "--json")
    return json.loads(shell(*words))["total_ms"]


def test_pruning_by_command(
    root: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(root, capsys)
    words = ["prune", *training(photos, tmp_path / "run"), "--finetune-steps", 1,
             "--device", "engine", "--threads", 2]  # fmt: skip
    budget = 0.7 * estimated_ms(shell, "x4-wide")
    text = shell(*words, "--candidate", "x4-wide-block50", "--budget-ms", budget)
    assert [line.split()[1] for line in text.splitlines()] == ["1/2", "2/2", "1/1"]
    found = tmp_path / "run/candidate.json"
    assert read_final(tmp_path / "run/final.safetensors").candidate == Catalogue(root).find(
        str(found)
    )
    assert estimated_ms(shell, found) <= budget
    words[words.index("--out") + 1] = tmp_path / "other"
    candidate = ("--candidate", "x4-wide-block50")
    assert "of the cheapest network" in shell.error(*words, *candidate, "--budget-ms", 0.1)
    assert "give less" in shell.error(*words, *candidate, "--budget-ms", 1e6)
    assert "prunes no layer" in shell.error(*words, "--candidate", "x4-wide", "--budget-ms", 1)
    words[words.index("engine")] = "fridge"
    assert "There is no device" in shell.error(*words, *candidate, "--budget-ms", 1)
    assert not (tmp_path / "other").exists()


def test_a_final_model_has_the_row_of_a_model(full_root: Path, root: Path) -> None:
    final = Model.of_final(Catalogue(full_root).finals()[0]).summary()
    rgb = {name for name in final if name.startswith("psnr_rgb")}
    assert final.keys() - rgb == Catalogue(root).models(Family(4))[0].summary().keys()


def test_a_final_model_makes_way_for_another(
    full_root: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    shell, images = Shell(own, capsys), tiny.save_benchmark(tmp_path / "benchmark", 4)
    words = ["publish-final", tuned / "final.safetensors", "--benchmark", images, "--name"]
    assert "no such final model" in shell.error(*words, "x4-new", "--replaces", "x4-none")
    shell(*words, "x4-new", "--replaces", NAME)
    assert [path.stem for path in (own / "models").glob("*.safetensors")] == ["x4-new"]
    assert not (own / f"models/{NAME}.csv").exists()
    sentence = f"The weights of {NAME} were replaced: use x4-new instead."
    assert sentence in shell.error("describe", "--model", NAME)
    assert verify(Catalogue(own)) == []
    shell(*words, NAME, "--replaces", "x4-new")  # back again
    assert Catalogue(own).replaced == {"x4-new": NAME}


def test_a_final_model_tells_what_it_took_the_place_of(
    full_root: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(full_root, tmp_path / "precomputed")
    shell, images = Shell(own, capsys), tiny.save_benchmark(tmp_path / "benchmark", 4)
    (before,) = Catalogue(own).finals()
    assert before.descriptor.predecessor is None
    final = read_final(tuned / "final.safetensors")
    head = replace(final.network.head, bias=final.network.head.bias + np.float32(0.01))
    other = tmp_path / "run/final.safetensors"
    other.parent.mkdir()
    write_final(other, replace(final.network, head=head), final.descriptor.model_dump())
    words = ["publish-final", other, "--benchmark", images, "--name", NAME]
    for _ in range(2):  # publishing the same once more is no change
        shell(*words)
        (now,) = Catalogue(own).finals()
        earlier = now.descriptor.predecessor
        assert now.id != before.id
        assert earlier is not None
        assert (earlier.network, earlier.model_id) == (before.descriptor.network, before.id)
        assert tuple(earlier.quality) == before.quality
    assert Catalogue(own).replaced == {before.id: NAME}
    assert verify(Catalogue(own)) == []
