"""Cases of the `onnx` package's own test suite, and the document that says how each one ends.

``python tests/onnx_cases.py`` runs all of them and writes docs/onnx-support.md.
"""

from __future__ import annotations

import collections
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from cnnfast.errors import UnsupportedOperatorError
from cnnfast.onnx.backend import Backend
from cnnfast.onnx.operators import OPERATORS

DOCUMENT = Path(__file__).parent.parent / "docs" / "onnx-support.md"
KINDS = ("node", "real", "simple", "pytorch-converted", "pytorch-operator")


class Comparison(Runner):
    """The standard's runner, which compares a sequence's elements by their length: scalars too."""

    @classmethod
    def assert_similar_outputs(cls, ref_outputs: Any, outputs: Any, *args: Any, **kw: Any) -> None:
        if isinstance(outputs, np.ndarray) and outputs.ndim == 0:
            ref_outputs, outputs = [ref_outputs], [outputs]
        super().assert_similar_outputs(ref_outputs, outputs, *args, **kw)


def runners() -> dict[str, Callable[[Any], None]]:
    """Return every case for the CPU by name; making them warns of overflow that is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        categories = Comparison(Backend)._test_items
    return {
        name.removesuffix("_cpu"): item.func
        for items in categories.values()
        for name, item in items.items()
        if name.endswith("_cpu")
    }


def nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a GraphProto, those of graphs inside attributes included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def operators() -> dict[str, set[str]]:
    """Return the operators of each case."""
    result = {}
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            model = case.model
            if model is None and case.model_dir is not None:
                model = onnx.load(Path(case.model_dir) / "model.onnx")
            elif model is None:
                model = onnx.load(Path(onnx.__file__).parent.parent / case.url)
            used = [*nodes(model.graph), *(n for f in model.functions for n in f.node)]
            own = {(f.domain, f.name) for f in model.functions}
            result[case.name] = {
                f"{n.domain}.{n.op_type}" if n.domain else n.op_type
                for n in used
                if (n.domain, n.op_type) not in own
            }
    return result


def outcome(run: Callable[[Any], None]) -> str:
    """Run a case: "passed", "refused", or "failed"."""
    try:
        run(None)
    except UnsupportedOperatorError:
        return "refused"
    except Exception:
        return "failed"
    return "passed"


def supported() -> set[str]:
    """Return the standard's operators that cnnfast has; Constant is the reader's."""
    names = {f"{domain}.{name}" if domain else name for domain, name in OPERATORS}
    return {name for name in names if not name.startswith("cnnfast.")} | {"Constant"}


def table(outcomes: dict[str, str], used: dict[str, set[str]]) -> str:
    """Return the document: totals, then a row for each operator that any case uses."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name, end in outcomes.items():
        for operator in used[name]:
            counts[operator][end] += 1
    total = collections.Counter(outcomes.values())
    known = supported()
    rows = [
        f"| {name} | {'yes' if name in known else 'no'} | {counts[name]['passed'] or ''} "
        f"| {counts[name]['refused'] or ''} | {counts[name]['failed'] or ''} |"
        for name in sorted(known | set(counts), key=str.lower)
    ]
    return "\n".join([
        "# ONNX operators",
        "",
        f"The standard's own test suite, as it comes with onnx {onnx.__version__}, run on "
        "`cnnfast.onnx.backend`:",
        f"of {len(outcomes)} cases {total['passed']} pass, {total['refused']} are refused with an "
        f"error that names what is not",
        f"supported, {total['failed']} fail. A case counts in the row of every operator that it "
        "uses, so a supported operator is",
        "refused where it stands beside one that is not. Written by `python tests/onnx_cases.py`.",
        "",
        "| operator | supported | passed | refused | failed |",
        "|---|---|---:|---:|---:|",
        *rows,
        "",
    ])


def main() -> int:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONNX_MODELS"] = folder
        outcomes = {name: outcome(run) for name, run in runners().items()}
    DOCUMENT.write_text(table(outcomes, operators()), encoding="utf-8")
    failed = [name for name, end in outcomes.items() if end == "failed"]
    print(f"{DOCUMENT}: {collections.Counter(outcomes.values())}", *failed, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
