"""The benchmarks: the list of cases, what the contestants compute, the command, the report."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# At the end: an installed cnnfast comes before the checkout's.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    ROOT,
    allocator,
    data,
    exported,
    importing,
    layers,
    networks,
    probe,
    records,
    report,
    starting,
    timing,
    verdict,
)
from benchmarks.__main__ import choose_cases, choose_isas, main, run_case
from benchmarks.cases import MOST_BYTES, RAPIDOCR, SUITES, all_cases
from benchmarks.contestants import MODULES, NAMES, Contestant, Loader, Row, line_up
from benchmarks.layers import Convolution
from benchmarks.table import findings, table
from cnnfast._core import cpu_info

CASES = all_cases()
EVERYDAY = choose_cases([], "")

SMALL = [  # a kind of case and arguments small enough for every contestant
    *((kind, (layer, 2)) for layer in (Convolution(3, 9, 5, 3, 2), Convolution(17, 6, 8, 1))
      for kind in ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")),
    ("conv2d_forward", (Convolution(19, 8, 19, 3, 2, groups=19), 2)),
    ("matmul", (5, 7, 3)),
    ("linear", (5, 7, 3)),
    ("relu", ((2, 3, 4, 5),)),
    ("add", ((2, 3, 4, 5),)),
    ("batch_norm_training", ((2, 3, 4, 5),)),
    ("batch_norm_evaluation", ((2, 3, 4, 5),)),
    ("max_pool2d", ((2, 3, 6, 8),)),
    ("mean_pool2d", ((2, 3, 6, 8),)),
    ("softmax", (3, 11)),
    ("sgd", (101,)),
    ("adam", (101,)),
    ("lenet5_step", (3,)),
    ("resnet18_cifar_step", (2,)),
]  # fmt: skip


@pytest.fixture(scope="module")
def line() -> list[Contestant]:
    """All contestants that are installed, cnnfast on the best instruction set."""
    from cnnfast import _core

    return line_up([_core.isa()], skip=())[0]


def test_layers_add_up_to_the_published_work() -> None:
    """torchvision counts 1.814e9 and 4.089e9 multiply-adds with the last linear layer."""
    assert sum(layer.flops(1) for layer in layers.resnet18()) // 2 == 1_814_073_344 - 512_000
    assert sum(layer.flops(1) for layer in layers.resnet50()) // 2 == 4_089_184_256 - 2_048_000
    assert sum(layers.resnets().values()) == 20 + 53


def test_cifar_layers_add_up_to_the_published_work() -> None:
    """ResNet-18 for 32x32 images: 0.5565e9 multiply-adds in its convolutions."""
    assert len(layers.resnet18_cifar()) == 20
    assert round(sum(layer.flops(1) for layer in layers.resnet18_cifar()) / 2 / 1e9, 4) == 0.5554


@pytest.mark.parametrize(
    ("network", "count", "work"),  # the published multiply-adds without the linear layers
    [("vgg16", 13, 15_346_630_656), ("mobilenet_v2", 52, 300_774_272 - 1_280_000)],
)
def test_networks_add_up_to_the_published_work(network: str, count: int, work: int) -> None:
    found = getattr(layers, network)()
    assert (len(found), sum(layer.flops(1) for layer in found)) == (count, 2 * work)


def test_lenet_is_that_of_the_models() -> None:
    """Its second convolution sees no padding."""
    assert [layer.out_size for layer in layers.lenet5()] == [28, 10]


def test_layers_are_those_of_all_networks_and_the_everyday_ones_of_the_resnets() -> None:
    found = {case.arguments for case in CASES if case.suite == "layers"}
    assert all(layer.bytes(batch) <= MOST_BYTES for layer, batch in found)
    assert {layer for layer, _ in found} == set(layers.all_layers())
    some = {case.arguments for case in EVERYDAY if case.suite == "layers"}
    assert some == {(layer, batch) for layer in layers.resnets() for batch in (1, 8)}


def test_cases_have_unique_names_and_known_suites() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.suite for case in CASES} == set(SUITES)


KINDS = sorted({case.kind for case in CASES if case.suite not in ("import", "infer")})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_compared_and_every_contestant_has_it(
    kind: str, line: list[Contestant]
) -> None:
    assert kind in {small for small, _ in SMALL}
    entering = [one for one in line if any(one.fits(case) for case in CASES if case.kind == kind)]
    assert all(callable(getattr(one, kind)) for one in entering)
    assert {"cnnfast", "numpy"} <= {one.name for one in entering}


def test_work_is_that_of_the_arrays() -> None:
    """Flops and bytes of a case, recounted from the operands' shapes."""
    case = next(c for c in CASES if c.name == "conv2d_forward 64x56x56 -> 128 3x3/2 batch 8")
    assert case.flops == 2 * 8 * 128 * 28 * 28 * 64 * 3 * 3
    assert case.bytes == 4 * (8 * 64 * 56 * 56 + 8 * 128 * 28 * 28 + 128 * 64 * 9)
    product = next(c for c in CASES if c.kind == "matmul")
    assert product.flops == 2 * 512**3


@pytest.mark.parametrize(("kind", "arguments"), SMALL, ids=lambda value: str(value))
def test_contestants_compute_the_same(
    kind: str, arguments: tuple[object, ...], line: list[Contestant]
) -> None:
    """Three calls, so that steps and optimisers have moved; the last results agree."""
    results = []
    for one in line:
        if one.name in PEERS:
            continue
        one.activate(1)
        run = getattr(one, kind)(*arguments)
        results.append([one.as_array(run()).copy() for _ in range(3)][-1])
    for other in results[1:]:
        np.testing.assert_allclose(np.squeeze(other), np.squeeze(results[0]), rtol=2e-3, atol=2e-4)


PEERS = ("onnxruntime", "openvino", "ncnn")
ROWS = [  # chained or not, with and without padding, all channels alone or none
    Convolution(20, 9, 20, 3), Convolution(5, 9, 7, 3, 2), Convolution(6, 14, 16, 5, padded=False),
    Convolution(17, 6, 8, 1), Convolution(32, 7, 32, 1), Convolution(19, 8, 19, 3, groups=19),
    Convolution(19, 8, 19, 3, 2, groups=19), Convolution(3, 20, 8, 7, 2),
]  # fmt: skip


@pytest.mark.parametrize("layer", ROWS, ids=str)
@pytest.mark.parametrize("peer", ["torch", *PEERS])
def test_rows_of_peers_compute_what_the_engine_does(
    peer: str, layer: Convolution, line: list[Contestant]
) -> None:
    """The last of ten convolutions; where a peer shows some of its pixels only, these."""
    pytest.importorskip(peer)
    found = {}
    for one in line:
        if one.name in ("cnnfast", peer):
            one.activate(1)
            run = one.conv2d_forward(layer, 3)
            assert run.length == 10
            found[one.name] = [one.as_array(run()).copy() for _ in range(2)][-1]
    step = layer.sampling if peer in PEERS else 1
    expected = found["cnnfast"][:, :, ::step, ::step]
    np.testing.assert_allclose(found[peer], expected, rtol=1e-3, atol=1e-4)


def test_rows_are_shorter_where_a_call_is_long_and_all_weights_differ() -> None:
    layer = Convolution(256, 56, 256, 3)
    assert (layer.row(1), layer.row(64)) == (3, 1)
    row = data.weights(Convolution(4, 5, 4, 3), 1)
    assert len({array.tobytes() for array in row}) == 10


def test_what_a_row_took_is_divided_by_its_length() -> None:
    case = next(case for case in EVERYDAY if case.kind == "conv2d_forward")
    row = Row(partial(timing.time.sleep, 0.01), 10)
    contestant = type("Made", (), {
        "name": "made", "isa": "", "pace": 1e10, "prepares": True, "fits": lambda self, case: True,
        "activate": lambda self, threads: None, "conv2d_forward": lambda self, *rest: row,
    })()  # fmt: skip
    (found,) = run_case(case, [contestant], 1, 0.02, 1)
    assert 1 <= found.best_ms < 5


def test_turns_are_interleaved_and_the_first_call_of_what_prepares_does_not_count() -> None:
    order: list[str] = []
    timed = [timing.Timed(lambda: None, partial(order.append, name)) for name in "ab"]
    timing.interleave(timed, budget=0.01, rounds=2)
    assert order == list("ababab")
    assert all(one.samples for one in timed)


@pytest.mark.parametrize(("long", "times"), [(0.001, 1), (1.0, 2)])
def test_a_long_call_without_preparation_runs_once_or_twice(
    long: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LONG", long)
    calls: list[int] = []

    def run() -> None:
        calls.append(1)
        timing.time.sleep(0.01)

    timed = timing.Timed(run, lambda: None, prepares=False)
    timing.interleave([timed], budget=0.001, rounds=3)
    assert len(calls) == len(timed.samples) == times


def test_list_names_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(EVERYDAY)
    assert main(["--list", "layers"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 4 * len(EVERYDAY)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["speed"], "no suite"), (["--filter", "no such"], "no case"), (["--threads", "0"], "threads"),
     (["--budget", "x"], "budget"), (["--isa", "sse9"], "isa")],
)  # fmt: skip
def test_wrong_flags_end_with_2_and_a_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_command_prints_and_appends_valid_records(tmp_path: Path) -> None:
    """One small case end to end, in a process of its own as the README says."""
    output = tmp_path / "records.jsonl"
    name = "conv2d_forward 64x56x56 -> 64 1x1/1 batch 1"
    command = [sys.executable, "-m", "benchmarks", "layers", "--filter", name, "--budget", "0.2"]
    command += ["--rounds", "1", "--threads", "1", "--output", str(output)]
    command += [word for peer in ("torch", *PEERS) for word in ("--skip", peer)]
    environment = {key: value for key, value in os.environ.items() if key != allocator.VARIABLE}
    for times in (1, 2):
        done = subprocess.run(
            [*command, *(["--json"] if times == 2 else [])],
            cwd=ROOT, capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert {row["case"] for row in rows} == {name}
        assert name in done.stdout
    assert done.stdout.splitlines() == output.read_text().splitlines()[-len(rows) // 2 :]
    assert {row["contestant"] for row in rows} == {"cnnfast", "numpy", "numpy-blas"}
    for row in rows:
        assert row["threads"] == 1 and row["versions"]["numpy"] and row["compiler"]
        assert platform.libc_ver()[0] != "glibc" or "mmap_max=0" in row["allocator"]
        assert 0 < row["best_ms"] <= row["median_ms"]
        assert row["gflops"] == pytest.approx(row["flops"] / row["best_ms"] / 1e6, rel=1e-2)
        assert row["ratio"] > 0
        assert row["share"] == pytest.approx(row["gflops"] / row["peak"], abs=1e-4)


@pytest.mark.parametrize("isa", cpu_info()["isas"])
def test_probe_multiplies_for_every_instruction_set(isa: str) -> None:
    multiply, flops = probe.Probe(1).multiplying(isa)
    assert flops % probe.STEPS == 0 and flops > 20 * probe.STEPS  # some chains of some floats
    assert multiply() == flops


def test_probe_reads_all_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "FLOATS", 2**10)
    read, moved = probe.Probe(2).reading()
    read()
    assert moved == 2 * 4 * 2**10


def test_peak_is_probed_beside_the_case() -> None:
    case = next(case for case in CASES if case.name == "matmul 512x512 512x512")
    line, _ = line_up(choose_isas(None)[:1], [*MODULES, *NAMES[1:]])
    (one,) = run_case(case, line, 1, 0.01, 1, probe.Probe(1))
    assert one.peak is not None and one.peak > 0 and one.share is not None


def test_without_a_compiler_there_is_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(probe.ProbeError, match="no-such-compiler: No such file"):
        probe.Probe(1)


def _measures() -> list[records.Measure]:
    """What a run over the layers of cnnfast and torch would record."""
    found = []
    for case in EVERYDAY:
        for one, seconds in (("cnnfast", 1e-3), ("torch", 2e-3)):
            contestant = type("Made", (), {"name": one, "isa": "avx512"})()
            peak = 40.0 if case.suite == "memory" else 500.0
            found.append(records.measure(case, contestant, [seconds, 2 * seconds], peak))
    records.compare(found)
    return found


COMMON = {
    "run": "2020-01-01T00:00:00+00:00", "machine": "a machine", "threads": 2, "compiler": "cc",
    "commit": None, "versions": {"cnnfast": "1", "torch": "2"},
}  # fmt: skip


def test_records_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "some" / "records.jsonl"
    old = records.lines(_measures()[:1], {**COMMON, "run": "2019"})
    records.append(path, [*old, *records.lines(_measures(), COMMON)])
    assert records.read(path) == (COMMON, _measures())
    assert records.read(path, "2019")[1] == _measures()[:1]
    with pytest.raises(ValueError, match="no run"):
        records.read(path, "2018")
    records.append(path, ["{}"])
    with pytest.raises(ValueError, match=f"line {len(_measures()) + 2}: not a record"):
        records.read(path)


def test_ratio_and_share_compare_with_the_same_run() -> None:
    by_name = {(one.case, one.contestant): one for one in _measures()}
    product = by_name["matmul 512x512 512x512", "torch"]
    assert product.ratio == 2.0
    assert product.share == pytest.approx(2 * 512**3 / 2e-3 / 500e9, abs=1e-4)
    rectified = by_name["relu 64x64x56x56", "cnnfast"]
    assert rectified.share == pytest.approx(102760448 / 1e-3 / 40e9, abs=1e-4)


def test_readme_table_stands_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.update_readme(report.markdown(COMMON, _measures()), readme)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| LeNet-5, training step, batch 64 | 1 ms (29%) | 2 ms (14%) |" in text
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        report.update_readme("", readme)


def test_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.plot(tmp_path / "plot.png", COMMON, _measures())
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_findings_name_the_goal_and_the_peers() -> None:
    text = findings(_measures())
    assert "conv2d_forward, cnnfast avx512, direct: 25 of 58 cases at 85%" in text
    assert "steps: torch takes 2.00 times cnnfast's time" in text
    assert "matmul 512x512 512x512" in table(_measures())


def _layer_measures(factors: dict[str, float]) -> list[records.Measure]:
    """What a run over all layers would record where each contestant takes so many milliseconds."""
    found = []
    for case in choose_cases(["layers"], ""):
        for name, factor in factors.items():
            contestant = type("Made", (), {"name": name, "isa": "avx512"})()
            found.append(records.measure(case, contestant, [factor * 1e-3]))
    return found


def test_verdict_compares_with_the_fastest_peer() -> None:
    times = {"cnnfast": 1.0, "torch": 3.0, "openvino": 1.5, "ncnn": 0.9}
    verdicts = verdict.judge(_layer_measures(times))
    found = {(one.group, one.kind, one.against): one for one in verdicts}
    forward = found[verdict.DENSE, verdict.FORWARD, "torch onnxruntime openvino"]
    assert (forward.mean, forward.least, forward.met) == (pytest.approx(1.5), 1.5, False)
    assert forward.below == []  # 1.4 is reached everywhere, the mean of 2 is not
    against_ncnn = found[verdict.DENSE, verdict.FORWARD, "ncnn"]
    assert not against_ncnn.met and len(against_ncnn.below) == against_ncnn.cases
    weight = found[verdict.DENSE, verdict.WEIGHT, "torch"]
    assert weight.met and weight.mean == pytest.approx(3)
    depthwise = sum(layer.depthwise for layer in layers.all_layers())
    other = found[verdict.OTHER, verdict.FORWARD, " ".join(verdict.ALL)]
    assert depthwise < other.cases and other.least == 0.9
    assert forward.cases + other.cases == sum(
        case.kind == verdict.FORWARD for case in choose_cases(["layers"], "")
    )


def test_verdict_on_networks_and_their_start() -> None:
    found = []
    for case in choose_cases(["infer"], ""):
        for name, factor in (("cnnfast", 1.0), ("torch", 3.0), ("onnxruntime", 1.5)):
            contestant = type("Made", (), {"name": name, "isa": "avx512"})()
            start = starting.Start(factor, 8 / factor, 0.01, int(1e6 * factor), None)
            made = records.measure_start if case.kind == "start" else records.measure
            found.append(made(case, contestant, [start if case.kind == "start" else factor]))
    verdicts = {(one.group, one.kind): one for one in verdict.judge(found)}
    assert verdicts["all networks", "network"].met
    assert verdicts["all networks", "network"].cases == 21
    assert verdicts["the other networks", "network"].cases == 11
    assert not verdicts["lenet5 batch 1", "network"].met
    assert not verdicts["resnet50 start", "load"].met
    both = verdicts["resnet50 start", "load and first call"]
    assert both.mean == pytest.approx((1.5 + 8 / 1.5) / 9)
    assert verdicts["resnet50 start", "memory"].mean == 1.5
    assert verdicts["resnet50 start", "idle"].mean == pytest.approx(2.0)
    lines = verdict.ratios_of_networks(found).splitlines()
    assert len(lines) == 2 + 21 and lines[-1].endswith("| 1e+03 | 3e+03 | 1.5e+03 |  |  | 1.50 |")
    assert "holds 2 MB (peak -)" in table(found)


def test_verdict_takes_the_direct_algorithm_for_the_share() -> None:
    found = _layer_measures({"cnnfast": 1.0, "cnnfast-direct": 1.0})
    for one in found:
        one.share = 0.95 if one.contestant == "cnnfast-direct" else 2.0
    shares = [one for one in verdict.judge(found) if one.against == "peak of avx512"]
    assert len(shares) == 3 and all(one.met and one.least == 0.95 for one in shares)


@pytest.mark.parametrize("flag", ["--verdict", "--json"])
def test_report_prints_the_verdict(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records.jsonl"
    measures = _layer_measures({"cnnfast": 1.0, "torch": 1.2})
    records.append(path, records.lines(measures, COMMON))
    assert report.main([str(path), flag]) == 0
    text = capsys.readouterr().out
    if flag == "--json":
        assert [one["mean"] for one in json.loads(text)] == pytest.approx([1.2] * 9)
    else:
        assert "1.20 (goal 2.00)" in text and "conv2d_forward 64x56x56 -> 64 3x3/1 batch 8" in text
    with pytest.raises(ValueError, match="no layers"):
        verdict.judge([])


@pytest.mark.parametrize("module", MODULES)
def test_absent_peers_are_said(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"benchmarks.contestants.{module}", None)
    found, absent = line_up(["generic"], skip=())
    assert any(f"without {module}" in line for line in absent)
    assert not MODULES[module] & {one.name for one in found}


def test_unknown_package_is_named() -> None:
    with pytest.raises(ImportError, match="no_such_package"):
        importing.added_seconds("no_such_package")


def test_suites_and_text_choose() -> None:
    assert {case.suite for case in choose_cases(["gemm", "steps"], "")} == {"gemm", "steps"}
    assert [case.name for case in choose_cases([], "lenet5")] == ["lenet5_step batch 64"]


# ---- networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", networks.WORK)
def test_networks_have_the_published_weights_and_work(name: str) -> None:
    torch = pytest.importorskip("torch")
    work = []

    def count(layer: Any, given: Any, result: Any) -> None:
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            work.append(layer.weight[0].numel() * result.numel() // len(result))

    with torch.device("meta"):
        network = networks.build(torch, name)
        for layer in network.modules():
            layer.register_forward_hook(count)
        network(torch.empty(2, *networks.image_shape(name)))
    assert sum(work) == networks.WORK[name]
    assert sum(weight.numel() for weight in network.parameters()) == WEIGHTS[name]


WEIGHTS = {  # torchvision's; LeNet-5's as in cnnfast.models
    "lenet5": 61_706, "resnet18": 11_689_512, "resnet50": 25_557_032, "mobilenet_v2": 3_504_872,
    "vgg16": 138_357_544, "squeezenet1_1": 1_235_496, "densenet121": 7_978_856,
    "efficientnet_b0": 5_288_548,
}  # fmt: skip


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1"])
def test_contestants_infer_the_same(name: str, line: list[Contestant], cached: None) -> None:
    pytest.importorskip("onnx")
    (case,) = (c for c in CASES if c.name == f"{name} batch 1")
    results = {}
    for one in line:
        if one.fits(case):
            assert isinstance(one, Loader)
            one.activate(1)
            run = one.network(name, 2)  # which holds the memory of its results
            results[one.name] = one.as_array(run()).copy()
    assert {"cnnfast"} <= results.keys() <= {"cnnfast", "torch", *PEERS}
    for found in results.values():
        assert found.shape[0] == 2 and np.isfinite(found).all()
        np.testing.assert_allclose(found, results["cnnfast"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "batches"), RAPIDOCR)
def test_pages_and_lines_are_scaled_for_rapidocr(name: str, batches: tuple[int, ...]) -> None:
    if exported.missing(name):
        pytest.skip("needs RapidOCR and scikit-image: see .ci/run")
    assert exported.exported(name).is_file()
    for batch in batches:
        images = exported.image(name, batch)
        assert images.shape[:2] == (batch, 3) and images.dtype == np.float32
        assert -1 <= images.min() < -0.5 < 0.2 < images.max() <= 1


def test_files_are_made_once(cached: None) -> None:
    def write(path: Path) -> None:
        made.append(path)
        path.write_text("made")

    made: list[Path] = []
    assert exported.made("a.txt", write) == exported.made("a.txt", write)
    assert len(made) == 1 and exported.made("a.txt", write).read_text() == "made"


def test_who_differs_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    case = next(case for case in CASES if case.kind == "network")

    def contestant(name: str, value: float) -> Any:
        return type(name, (), {
            "name": name, "isa": "", "pace": 1e10, "prepares": True, "fits": lambda self, c: True,
            "activate": lambda self, threads: None, "as_array": lambda self, result: result,
            "network": lambda self, *rest: lambda: np.array([1.0, value]),
        })()  # fmt: skip

    line = [contestant("a", 2.0), contestant("b", 2.1), contestant("c", 2.0001)]
    found = run_case(case, line, 1, 0.01, 1)
    assert [one.contestant for one in found] == ["a", "c"]
    assert "b left out" in capsys.readouterr().err


def test_a_start_is_measured_in_a_fresh_process(cached: None) -> None:
    from cnnfast import _core

    pytest.importorskip("onnx")
    (one,) = line_up([_core.isa()], [name for name in NAMES if name != "cnnfast"])[0]
    assert isinstance(one, Loader)
    one.network_file("lenet5")
    start = starting.measure("cnnfast", _core.isa(), "lenet5", 1, False)
    assert 0 < start.load < 1 and 0 < start.first < 1 and start.idle is None
    if sys.platform == "linux":
        assert start.memory is not None and start.peak is not None
        assert 0 < start.memory <= start.peak < 1e8
    with pytest.raises(RuntimeError, match="did not start no_such"):
        starting.measure("cnnfast", _core.isa(), "no_such", 1, False)
