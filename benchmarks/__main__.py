"""`python -m benchmarks [SUITE ...]`: run the cases on every contestant and record the measures.

`python -m benchmarks accuracy` measures no speed and has flags of its own: accuracy.py.

Results go to standard output, progress and remarks to standard error. Ctrl-C ends the run early;
what was measured until then is printed and recorded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import cnnfast
from cnnfast import _core

from . import accuracy, allocator, exported, importing, probe, records, report, starting
from .cases import SUITES, Case, all_cases
from .contestants import NAMES, Contestant, Loader, Row, label, line_up
from .contestants.engine import restored
from .table import findings, table
from .timing import Timed, interleave

PATIENCE = 60.0
"""Seconds: a contestant sits a case out if one call would take longer."""

TOLERANCE = 1e-3
"""Largest difference between a network's output and that of the contestant that most agree with,
over the largest value: fp32 in another order gives 1e-5, a wrong or shortened network more."""

SUITES_HELP = (
    f"of {', '.join(SUITES)}; all by default, of the layers then the ResNets' at one or two batches"
)


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    """Return a converter to `kind` that refuses what is less than `least`."""

    def convert(text: str) -> float:
        value = kind(text)
        if value < least:
            raise ValueError(text)
        return value

    convert.__name__ = f"number of {least} or more"
    return convert


def _parser() -> argparse.ArgumentParser:
    isas = _core.cpu_info()["isas"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("suites", nargs="*", metavar="SUITE", help=SUITES_HELP)
    add("--threads", type=_number(int, 1), help="for every contestant (what cnnfast would use)")
    add("--isa", choices=[*isas, "all"], help="for cnnfast (all but generic)")
    add("--filter", default="", metavar="TEXT", help="only cases whose name contains TEXT")
    add("--skip", action="append", default=[], choices=NAMES, help="leave a contestant out")
    add("--budget", type=_number(float, 0), metavar="SECONDS", help="in all (each case has one)")
    add("--rounds", type=_number(int, 1), default=3, help="turns of each contestant (3)")
    add("--json", action="store_true", help="print the records instead of the table")
    add("--output", type=Path, metavar="FILE", help="records go here (results/<machine>.jsonl)")
    add("--plot", type=Path, metavar="FILE", help="draw the peak's shares (beside the records)")
    add("--list", action="store_true", help="print the cases and end")
    return parser


def _remark(text: str) -> None:
    tqdm.write(f"benchmarks: {text}", file=sys.stderr)


def choose_cases(suites: Sequence[str], text: str) -> list[Case]:
    """Return the cases of `suites` (the everyday ones of all where empty) with `text` in the name.

    Raises
    ------
    ValueError
        A suite is unknown, or nothing is left.
    """
    unknown = [suite for suite in suites if suite not in SUITES]
    if unknown:
        raise ValueError(f"no suite is named {unknown[0]!r}; there are {', '.join(SUITES)}")
    wanted = suites or SUITES
    cases = [case for case in all_cases() if case.suite in wanted and (suites or case.everyday)]
    chosen = [case for case in cases if text in case.name]
    if not chosen:
        raise ValueError(f"no case of {', '.join(wanted)} has {text!r} in its name")
    return chosen


def choose_isas(isa: str | None) -> list[str]:
    """Return the instruction sets to run cnnfast on, best first."""
    found: list[str] = list(reversed(_core.cpu_info()["isas"]))
    if isa is None:
        return found[:-1] or found
    return found if isa == "all" else [isa]


def _time_imports(case: Case, line: Sequence[Contestant]) -> list[records.Measure]:
    """One measure for each package that is not NumPy itself."""
    packages = {one.package: one for one in reversed(line) if one.package != "numpy"}
    return [
        records.measure(case, one, importing.added_seconds(package))
        for package, one in sorted(packages.items())
    ]


def _time_starts(
    case: Case, line: Sequence[Contestant], threads: int
) -> list[records.Measure]:
    """Start a network in fresh processes, one contestant after the other, some times."""
    name, idle = case.arguments
    entered = [one for one in line if isinstance(one, Loader) and one.fits(case)]
    starts: list[list[starting.Start]] = [[] for _ in entered]
    for one in entered:
        one.network_file(name)
    for repeat in range(starting.REPEATS):
        for one, found in zip(entered, starts, strict=True):
            wait = idle and not repeat
            found.append(starting.measure(one.name, one.isa, name, threads, wait))
    pairs = zip(entered, starts, strict=True)
    return [records.measure_start(case, one, found) for one, found in pairs]


def _agreeing(
    case: Case, entered: list[Contestant], timed: list[Timed]
) -> tuple[list[Contestant], list[Timed]]:
    """Leave out whose output differs from the one that is nearest to all others."""
    results = []
    for one, clocked in zip(entered, timed, strict=True):
        clocked.activate()
        results.append(one.as_array(clocked.run()).copy())
    differences = np.array([[np.abs(a - b).max() for b in results] for a in results])
    middle = int(np.median(differences, axis=1).argmin())
    bound = TOLERANCE * np.abs(results[middle]).max()
    kept = [not difference > bound for difference in differences[middle]]
    for one, fits, difference in zip(entered, kept, differences[middle], strict=True):
        if not fits:
            _remark(f"{case.name}: {label(one)} left out, its output differs by {difference:g}")
    return list(compress(entered, kept)), list(compress(timed, kept))


def run_case(
    case: Case, line: Sequence[Contestant], threads: int, budget: float, rounds: int,
    machine: probe.Probe | None = None,
) -> list[records.Measure]:
    """Time one case on every contestant and its peak on `machine`, interleaved, in about `budget`
    seconds.
    """
    if case.suite == "import":
        return _time_imports(case, line)
    if case.suite == "infer" and (absent := exported.missing(case.arguments[0])):
        _remark(f"{case.name}: skipped, {absent}")
        return []
    if case.kind == "start":
        return _time_starts(case, line, threads)
    entered: list[Contestant] = []
    timed: list[Timed] = []
    for one in filter(lambda one: one.fits(case), line):
        if case.flops / one.pace > PATIENCE:
            _remark(f"{case.name}: {label(one)} skipped, one call would take over {PATIENCE:.0f} s")
            continue
        one.activate(threads)
        run = getattr(one, case.kind)(*case.arguments)
        timed.append(Timed(run, partial(one.activate, threads), one.prepares))
        entered.append(one)
    if case.kind == "network":
        entered, timed = _agreeing(case, entered, timed)
    isas = list(dict.fromkeys(one.isa for one in entered))
    works = machine.works(isas, case.suite == "memory") if machine and case.flops else []
    probes = [Timed(run, lambda: None) for _, run, _ in works]
    interleave([*timed, *probes], budget, rounds)
    peaks = {
        isa: work / min(clocked.samples) / 1e9
        for (isas, _, work), clocked in zip(works, probes, strict=True)
        for isa in isas
    }
    return [
        records.measure(case, one, _each(clocked), peaks.get(one.isa))
        for one, clocked in zip(entered, timed, strict=True)
    ]


def _each(timed: Timed) -> list[float]:
    """Seconds for one call of the operation, of which a row holds several."""
    length = timed.run.length if isinstance(timed.run, Row) else 1
    return [sample / length for sample in timed.samples]


def _run_all(
    cases: Sequence[Case], line: Sequence[Contestant], options: argparse.Namespace, threads: int
) -> list[records.Measure]:
    """Time all cases; Ctrl-C ends the list early."""
    machine = _probe(threads)
    measures: list[records.Measure] = []
    share = None if options.budget is None else options.budget / len(cases)
    try:
        with restored():
            for case in tqdm(cases, unit="case", file=sys.stderr, disable=None):
                budget = case.seconds if share is None else share
                measures += run_case(case, line, threads, budget, options.rounds, machine)
    except KeyboardInterrupt:
        _remark("interrupted; this is what was measured until now")
    return measures


def _probe(threads: int) -> probe.Probe | None:
    try:
        return probe.Probe(threads)
    except probe.ProbeError as error:
        _remark(f"no share of the peak: {error}")
        return None


def _print(measures: list[records.Measure], lines: list[str], as_json: bool) -> None:
    parts = lines if as_json else filter(None, [table(measures), findings(measures)])
    print(("\n" if as_json else "\n\n").join(parts))


def _run(options: argparse.Namespace, cases: list[Case]) -> int:
    isas, threads = choose_isas(options.isa), options.threads or cnnfast.get_num_threads()
    line, absent = line_up(isas, options.skip)
    for remark in absent:
        _remark(remark)
    common = records.circumstances(threads, {one.package for one in line})
    measures = _run_all(cases, line, options, threads)
    records.compare(measures)
    lines = records.lines(measures, common)
    _print(measures, lines, options.json)
    path = options.output or records.default_path(common["machine"])
    records.append(path, lines)
    _remark(f"{len(lines)} records appended to {path}")
    if options.plot or not options.filter:
        _draw(options.plot or path.with_suffix(".png"), common, measures, bool(options.plot))
    return 0


def _draw(path: Path, common: dict[str, Any], measures: list[records.Measure], asked: bool) -> None:
    """Draw the plot; without matplotlib that is an error only where it was asked for."""
    if not any(one.suite == "layers" and one.share is not None for one in measures):
        return
    try:
        report.plot(path, common, measures)
        _remark(f"drawn: {path}")
    except ImportError as error:
        if asked:
            raise
        _remark(f"no plot: {error}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong flags."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["accuracy"]:
        return accuracy.main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        cases = choose_cases(options.suites, options.filter)
        if not options.list:
            return _run(options, cases)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    for case in cases:
        print(f"{case.suite:<7} {case.name}")
    return 0


if __name__ == "__main__":
    allocator.restart_with_settings()
    sys.exit(main())
