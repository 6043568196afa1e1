"""The command line: ``cnnfast train | eval | predict | convert | run | profile | info | ...``.

Results go to standard output, as text or with ``--json`` as one JSON document; progress and
errors go to standard error. Exit codes: 0 done, 1 the training failed, 2 wrong flags or files
(with one line that says which), 130 interrupted. Commands import what they need when they run,
so that ``cnnfast --help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["main"]

RUNS = "runs"
TRAINING_FLAGS = (
    "data", "size", "model", "epochs", "batch_size", "lr", "optimizer", "seed", "augment"
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default those of the process.

    Returns
    -------
    int
        See the head of this file.

    Examples
    --------
    >>> from cnnfast.cli import main
    >>> main(["--version"])
    cnnfast 0.1.0
    0
    """
    try:
        arguments = list(sys.argv[1:] if argv is None else argv)
        # The benchmarks read their own flags.
        passed_on = arguments[1:] if arguments[:1] == ["bench"] else []
        options = _parser().parse_args(arguments[:1] if passed_on else arguments)
        options.passed_on = passed_on
        if getattr(options, "threads", None):
            from . import set_num_threads

            set_num_threads(options.threads)
        return int(options.command(options) or 0)
    except SystemExit as stop:  # argparse has printed what is to be said
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted", 130)
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FloatingPointError as error:
        return _fail(error, 1)
    except OSError as error:
        named = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        return _fail(named if error.strerror else error, 2)
    except (ValueError, ImportError) as error:
        return _fail(error, 2)


def _fail(reason: object, code: int) -> int:
    print(f"cnnfast: {' '.join(str(reason).split())}", file=sys.stderr)
    return code


def _parser() -> _Parser:
    from . import __version__
    from .commands import add_commands, add_input

    parser = _Parser(prog="cnnfast", description="Train and use convolutional networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"cnnfast {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)
    _add_eval(commands)
    _add_predict(commands)
    _add_summary(commands)
    add_commands(commands)
    parser_of_info = _add(
        commands, "info", _info, "print version, CPU, instruction set and threads, or what MODEL is"
    )
    parser_of_info.add_argument("model", nargs="?", type=Path, metavar="MODEL")
    add_input(parser_of_info)
    _add(commands, "bench", _bench, "run the benchmarks of the working folder", json=False)
    return parser


def _add(
    commands: Any, name: str, run: Callable[[Any], int | None], words: str, json: bool = True
) -> _Parser:
    parser: _Parser = commands.add_parser(name, help=words, description=words.capitalize() + ".")
    parser.set_defaults(command=run)
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _add_train(commands: Any) -> None:
    from .recipe import RATES, Settings

    parser = _add(commands, "train", _train, "train a network; the default learns digits")
    default = Settings()
    add = parser.add_argument
    add("--data", help="mnist5k, an .npz file, or a folder of images or IDX files (mnist5k)")
    add("--size", type=_count, help="height and width for folders of images (64)")
    add("--model", help=f"a network of cnnfast.models ({default.model})")
    add("--epochs", type=_count, help=f"passes over the data ({default.epochs})")
    add("--batch-size", type=_count, help=f"images in a step ({default.batch_size})")
    add("--lr", type=_positive, help="peak learning rate (the optimiser's own)")
    add("--optimizer", choices=tuple(RATES), help=f"({default.optimizer})")
    add("--seed", type=_natural, help=f"start of all random numbers ({default.seed})")
    add("--no-augment", dest="augment", action="store_false", default=None,
        help="do not move and turn the training images")  # fmt: skip
    add("--output", type=Path, default=Path(RUNS), help=f"folder of all runs ({RUNS})")
    add("--name", help="name of this run's folder (data, model and time)")
    add("--resume", type=Path, metavar="RUN", help="go on with a run's folder or checkpoint")
    add("--quiet", action="store_true", help="show no progress")
    _add_threads(parser)


def _add_eval(commands: Any) -> None:
    parser = _add(commands, "eval", _eval, "measure a model on held-out images")
    _add_model(parser)
    parser.add_argument("--data", help="as for train; the held-out part counts (the model's own)")
    _add_threads(parser)


def _add_predict(commands: Any) -> None:
    parser = _add(commands, "predict", _predict, "print class and probability of image files")
    parser.epilog = (
        "A picture is resized to the model's input; for a model of grey images it is made grey "
        "and, where its border is light and the model has learnt on dark ones (as digits are in "
        "MNIST) or the other way round, inverted."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="PNG, JPEG or another format")
    parser.add_argument("--top", type=_count, default=1, metavar="K", help="classes to print (1)")
    _add_model(parser)
    _add_threads(parser)


def _add_summary(commands: Any) -> None:
    parser = _add(commands, "summary", _summary, "print a model's layers")
    parser.add_argument(
        "model", nargs="?", help="a file or a network of cnnfast.models (the newest under runs)"
    )
    parser.add_argument(
        "--input", type=_shape, metavar="CxHxW", help="such as 3x224x224 (the model's own)"
    )
    parser.add_argument("--batch-size", type=_count, default=1, help="images at once (1)")


def _add_model(parser: _Parser) -> None:
    parser.add_argument("--model", type=Path, help="a model's file (the newest under runs)")


def _add_threads(parser: _Parser) -> None:
    parser.add_argument("--threads", type=_count, help="number of threads (all that are allowed)")


def _count(text: str) -> int:
    return int(_number(text, int, lambda n: n >= 1, "a whole number of 1 or more"))


def _natural(text: str) -> int:
    return int(_number(text, int, lambda n: n >= 0, "a whole number of 0 or more"))


def _positive(text: str) -> float:
    return _number(text, float, lambda x: 0 < x < float("inf"), "a number above 0")


def _number(
    text: str, kind: Callable[[str], float], good: Callable[[float], bool], words: str
) -> float:
    try:
        if good(value := kind(text)):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {words}, got {text!r}")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().replace(",", "x").split("x")
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"expected CxHxW such as 3x224x224, got {text!r}")
    return tuple(_count(size) for size in sizes)


def _say(options: Any, document: Any, text: str) -> None:
    """Print a result in the form that was asked for."""
    print(json.dumps(document) if options.json else text)


def _train(options: Any) -> None:
    from . import recipe

    given = {
        name: value for name in TRAINING_FLAGS if (value := getattr(options, name)) is not None
    }
    if options.resume is None:
        settings = recipe.Settings(**given)
        folder, resume = _new_folder(options, settings), None
    else:
        settings, folder, resume = _resumed(options, given)
    result = recipe.train(settings, folder, resume, progress=not options.quiet)
    if recipe.CURVES not in result["files"] and not options.quiet:
        print('no plots without matplotlib: pip install "cnnfast[plots]"', file=sys.stderr)
    epochs = f"{result['epochs']} epoch" + "s" * (result["epochs"] != 1)
    _say(
        options,
        result,
        f"held-out accuracy {result['accuracy']:.2%} after {epochs} and "
        f"{result['seconds']:.1f} s of training ({result['images_per_second']:,.0f} images/s)\n"
        f"wrote {', '.join(result['files'])} to {folder}",
    )


def _new_folder(options: Any, settings: Any) -> Path:
    """Return where the run goes; never where another one is."""
    if options.name is None:
        stem = Path(settings.data).expanduser().resolve().stem
        name = f"{stem}-{settings.model}-{time.strftime('%Y%m%d-%H%M%S')}"
    else:
        name = options.name
    folder: Path = options.output / name
    if folder.exists():
        raise ValueError(
            f"{folder} exists; choose another --name, or go on with it by --resume {folder}"
        )
    return folder


def _resumed(options: Any, given: dict[str, Any]) -> tuple[Any, Path, Path]:
    from . import checkpoint, recipe

    given |= {"name": options.name} if options.name else {}
    if given:
        flag = "no-augment" if "augment" in given else next(iter(given)).replace("_", "-")
        raise ValueError(f"--{flag} cannot be given with --resume: the run keeps its settings")
    path = options.resume
    if path.is_dir():
        path = path / recipe.CHECKPOINT
    settings = recipe.settings_of(checkpoint.read_metadata(path), path)
    return settings, path.parent, path


def _newest() -> Path:
    """Return the model that was written last under the folder of runs."""
    from .recipe import MODEL

    models = sorted(Path(RUNS).glob(f"*/{MODEL}"), key=lambda path: path.stat().st_mtime)
    if not models:
        raise FileNotFoundError(
            f"no {RUNS}/*/{MODEL}: run cnnfast train first, or name a file with --model"
        )
    return models[-1]


def _opened(path: Path | None) -> tuple[Path, Any, dict[str, Any]]:
    """Load a model and what it says about its input."""
    from . import checkpoint
    from .errors import FormatError

    path = path or _newest()
    model, metadata = checkpoint.load(path), checkpoint.read_metadata(path)
    for name in ("classes", "mean", "std", "input_shape"):
        if not isinstance(metadata.get(name), list):
            raise FormatError(f"{path}: expected a list {name!r} in the metadata, as train writes")
    return path, model, metadata


def _eval(options: Any) -> None:
    import numpy as np

    from . import Trainer, metrics, recipe, sources

    path, model, metadata = _opened(options.model)
    settings = recipe.settings_of(metadata, path)
    shape = metadata["input_shape"]
    source = sources.open_source(options.data or settings.data, shape[1])
    if source.classes != metadata["classes"]:
        raise ValueError(f"{path}: the model's classes are not those of {options.data}")
    loader = recipe.loader_of(source.held_out, 256, metadata["mean"], metadata["std"])
    start = time.perf_counter()
    scores = Trainer(model, progress=False).predict(loader)
    seconds = time.perf_counter() - start
    labels = np.concatenate([labels for _, labels in loader])
    matrix = metrics.confusion_matrix(scores, labels, len(source.classes))
    each = metrics.precision_recall_f1(matrix, average=None)
    result = {
        "model": str(path),
        "data": options.data or settings.data,
        "images": len(labels),
        "images_per_second": len(labels) / seconds,
        "accuracy": metrics.accuracy(scores, labels),
        "top3": metrics.top_k_accuracy(scores, labels, 3),
        **metrics.precision_recall_f1(matrix),
        "classes": source.classes,
        "per_class": {name: values.tolist() for name, values in each.items()},
        "confusion_matrix": matrix.tolist(),
    }
    _say(options, result, _report(result))


def _report(result: dict[str, Any]) -> str:
    width = max(5, *map(len, result["classes"]))
    lines = [
        f"{result['model']} on {result['images']:,} images of {result['data']}",
        f"accuracy {result['accuracy']:.2%}, among the first three {result['top3']:.2%}",
        f"{'class':<{width}}  precision  recall      f1  images",
    ]
    counts = [sum(row) for row in result["confusion_matrix"]]
    figures = zip(*result["per_class"].values(), strict=True)
    for name, (precision, recall, f1), count in zip(
        result["classes"], figures, counts, strict=True
    ):
        lines.append(f"{name:<{width}}  {precision:9.3f}  {recall:6.3f}  {f1:6.3f}  {count:6,}")
    return "\n".join(lines)


def _predict(options: Any) -> None:
    import numpy as np

    from . import Trainer
    from .data.transforms import Normalize
    from .pictures import read_picture

    path, model, metadata = _opened(options.model)
    shape, ground = metadata["input_shape"], metadata.get("background")
    pixels = np.stack([read_picture(file, shape, ground) for file in options.files])
    normalise = Normalize(metadata["mean"], metadata["std"])
    images, _ = normalise(pixels, np.zeros(len(pixels), np.int64), np.random.default_rng(0))
    table = Trainer(model, progress=False).predict(images, probabilities=True)
    names = metadata["classes"]
    found = []
    for file, row in zip(options.files, table, strict=True):
        best = np.argsort(-row)[: options.top]
        classes = [{"class": names[i], "probability": float(row[i])} for i in best]
        found.append({"file": file, "classes": classes})
    width = max(map(len, options.files))
    lines = [
        f"{each['file']:<{width}}  "
        + "  ".join(f"{one['class']} {one['probability']:.3f}" for one in each["classes"])
        for each in found
    ]
    _say(options, {"model": str(path), "predictions": found}, "\n".join(lines))


def _summary(options: Any) -> None:
    from . import checkpoint, models, summary

    if options.model in models.names():
        model, own = models.build(options.model), None
    else:
        path = Path(options.model) if options.model else _newest()
        model, own = checkpoint.load(path), checkpoint.read_metadata(path).get("input_shape")
    shape = options.input or own
    if shape is None:
        raise ValueError("the model does not say its input; give --input CxHxW")
    found = summary(model, shape, options.batch_size)
    _say(options, found.to_dict(), str(found))


def _info(options: Any) -> None:
    if options.model is not None:
        from .commands import describe, opened

        return _say(options, *describe(opened(options.model, options.input)))
    import platform

    import numpy as np

    from . import __version__, _core

    found = {
        "cnnfast": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        **_core.cpu_info(),
    }
    shown = dict(found)
    shown["isas"] = ", ".join(found["isas"])
    shown["openmp"] = "yes" if found["openmp"] else "no: built without it, runs on one thread"
    width = max(map(len, shown))
    _say(options, found, "\n".join(f"{name:<{width}}  {value}" for name, value in shown.items()))


def _bench(options: Any) -> int:
    from importlib import import_module

    sys.path.insert(0, os.getcwd())
    try:
        bench = import_module("benchmarks.__main__").main
    except ImportError as error:
        if (error.name or "").split(".")[0] != "benchmarks":
            raise
        raise ImportError(
            "no folder benchmarks here: run this in a checkout of cnnfast's source"
        ) from None
    return int(bench(options.passed_on) or 0)
