"""The command line of a stage, read from the signature of its function.

A stage is `def stage(params: Params, *, samples: Input, pairs: Output) -> Report`. Two engines call the same module:

- DVC and people: ``python -m components.ingest --params params.yaml --raw DIR --samples DIR --checkpoints DIR``
- Kubeflow Pipelines: ``python -m components.ingest --executor-input JSON``

One rule says what is what in that JSON: an `Input` and an `Output` are the artifact of that name; a `Scratch` and a
`Shared` folder lie in the folder that the parameter of that name says, see `Executor.folder`; a `Number` is the
parameter of that name; an `Extra` is never given. A word before it chooses a part of the stage, as on the command line,
but takes no value there: ``python -m components.ingest --shard --executor-input JSON``.

Outputs are made under another name beside the wanted one and renamed when the stage has succeeded, so that nothing
half-written is taken for whole. A lock beside each output keeps two runs from writing the same place. Of several
processes of one run, as torchrun starts them, the first alone does so, see `ranks`.
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import inspect
import logging
import os
import shutil
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn, TextIO

from components import ranks
from components.executor import Executor
from inverseform import params
from inverseform.location import locate
from inverseform.settings import InputError, Settings

Input = Annotated[Path, "input"]
"""A file or folder that the stage reads; a URL that fsspec knows where the stage can read from one."""
Output = Annotated[Path, "output"]
"""A file or folder that the stage makes."""
Scratch = Annotated[Path, "scratch"]
"""A folder for checkpoints, which outlives an interrupted run and is emptied by a finished one."""
Extra = Annotated[Path | None, "extra"]
"""A file or folder that the stage reads if it is named; of the command line alone, as neither graph has such edges."""
Shared = Annotated[Path, "shared"]
"""A folder that several runs fill at the same time, each with files of its own: it is neither locked nor emptied."""
Number = Annotated[int | None, "number"]
"""A whole number: of the command line, or a parameter of KFP."""
Report = dict[str, Any]
"""The figures of a run, by name: scalars, which become KFP metrics and output parameters, None where one has no value;
`confusion`, if there is one, has `classes` and `counts`, a row of them for each actual class."""

log = logging.getLogger("inverseform")


Kind = Literal["input", "output", "scratch", "extra", "shared", "number"]


def ports(function: Callable[..., Report], kind: Kind) -> list[str]:
    """Names of the parameters of a stage that are of one kind, in the order of its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    return [name for name, hint in hints.items() if kind in getattr(hint, "__metadata__", ())]


def main(function: Callable[..., Report], *parts: Callable[..., Report]) -> None:
    """Run a stage from the command line; leaves with 0, with 2 for bad input, 130 or 143 when interrupted.

    Under torchrun that is the status of a process; torchrun's own is 1 for each of them.

    Args:
        function: The stage.
        parts: Functions that do a part of it alone, with the same settings: `--fit` runs the one called fit.
    """
    level = logging.INFO if ranks.is_first() else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Kubernetes ends a pod by SIGTERM, at which Python would die without unwinding its stack.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        words = [given.partition("=")[0] for given in sys.argv[1:]]
        chosen = next((part for part in parts if f"--{part.__name__}" in words), function)
        # The word chooses the part, and may also be an argument of it: --shard 3.
        valued = chosen.__name__ in ports(chosen, "number") and "--executor-input" not in sys.argv
        word = None if chosen is function or valued else f"--{chosen.__name__}"
        argv = [given for given in sys.argv[1:] if given != word]
        settings, paths, executor = _arguments(chosen, argv, section=function.__name__)
        report = run(chosen, settings, paths)
        if executor is not None and ranks.is_first():
            executor.answer(report)
    except (InputError, OSError) as error:
        ranks.let_the_first_speak()
        sys.exit(_refusal(error))
    except KeyboardInterrupt:
        if ranks.is_first():
            log.error("%s: interrupted", function.__name__)
        sys.exit(130)
    figures = (f"{name} {value:.4g}" for name, value in report.items() if isinstance(value, float))
    log.info("%s: %s", function.__name__, ", ".join(figures) or "done")


def run(function: Callable[..., Report], settings: Settings, paths: Mapping[str, Any]) -> Report:
    """Call a stage so that its outputs appear whole or not at all.

    Of several processes only the first makes them, and need make them. A scratch folder is the same for all: the first
    alone should write there, and the others read nothing before it has begun.

    Args:
        function: The stage.
        settings: Its section of params.yaml.
        paths: A path for every input, output, scratch and shared folder of its signature, and its numbers.

    Raises:
        FileNotFoundError: An input does not exist.
    """
    # Before the locks: a missing input should be told at once, not after another run has ended.
    for name in [*ports(function, "input"), *(name for name in ports(function, "extra") if name in paths)]:
        if not paths[name].exists():
            raise FileNotFoundError(
                errno.ENOENT, f"no such file or folder for --{name.replace('_', '-')}; run the stage that makes it",
                str(paths[name]),
            )  # fmt: skip
    outputs = {name: paths[name] for name in ports(function, "output")}
    scratch = [paths[name] for name in ports(function, "scratch")]
    if not ranks.is_first():
        with ranks.throw_away(outputs) as made:
            return function(settings, **{**paths, **made})
    with contextlib.ExitStack() as held:
        for path in [*outputs.values(), *scratch]:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(path))
        partial = {name: _beside(path, "partial") for name, path in outputs.items()}
        for path in partial.values():
            # The stack is unwound from its end: what is half-made is gone before the lock is let go.
            held.callback(_remove, path)
            _remove(path)
        report = function(settings, **{**paths, **partial})
        if missing := [name for name, path in partial.items() if not path.exists()]:
            raise RuntimeError(f"{function.__name__} ended and did not make {', '.join(missing)}: a bug of the stage")
        for name, path in outputs.items():
            _remove(path)
            partial[name].rename(path)
        for path in scratch:
            _remove(path)
    return report


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names: what a run's checkpoint must agree with."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            # The names too, as two files that change places make another folder.
            total.update(str(file.relative_to(path)).encode())
            with file.open("rb") as opened:
                total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


def _arguments(
    function: Callable[..., Report], argv: list[str], *, section: str
) -> tuple[Settings, dict[str, Any], Executor | None]:
    """Settings, paths and, under KFP, the executor input."""
    parser = _Parser(description=inspect.getdoc(function))
    parser.add_argument("--executor-input", help="the JSON that Kubeflow Pipelines hands over, instead of all others")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings (default: %(default)s)")
    parser.add_argument("--overrides", default="{}", metavar="JSON", help="settings to change, of this stage's section")
    read, made = ports(function, "input"), [n for k in ("output", "scratch", "shared") for n in ports(function, k)]
    names, extra, numbers = [*read, *made], ports(function, "extra"), ports(function, "number")
    for name in [*names, *extra, *numbers]:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int if name in numbers else str)
    given = parser.parse_args(argv)
    settings = typing.get_type_hints(function)["params"]
    if given.executor_input:
        executor = Executor(given.executor_input)
        folders = [*ports(function, "scratch"), *ports(function, "shared")]
        paths = {
            **executor.artifacts(inputs=read, outputs=ports(function, "output")),
            **{name: executor.folder(name, stage=section) for name in folders},
            **{name: executor.number(name) for name in numbers},
        }
        return params.parse_section(executor.parameter("params"), section, settings), paths, executor
    missing = [f"--{name.replace('_', '-')}" for name in names if getattr(given, name) is None]
    if missing:
        parser.error(f"{', '.join(missing)} missing: say where to read and write")
    return (
        params.load_section(given.params, section, settings, overrides=given.overrides),
        {
            name: word if name in numbers else _folder(word) if name in made else locate(word)
            for name in [*names, *extra, *numbers]
            if (word := getattr(given, name)) is not None
        },
        None,
    )


def _folder(text: str) -> Path:
    if "://" in text:
        raise InputError(f"{text}: a stage writes to local paths alone; write to one, and copy it there afterwards")
    return Path(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        ranks.let_the_first_speak()
        super().error(message)


def _refusal(error: Exception) -> int:
    """Print what was wrong with what was handed in; the exit status."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'a file'}: {error.strerror or error}"
        if error.errno == errno.ENOSPC:
            text = f"{error.filename or 'the output'}: the disk is full; free some space and run the stage again"
    print(f"error: {text}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the right to write a path, waiting for a run that has it (an orphan of a killed one, say) to end."""
    name = _beside(path, "lock")
    while True:
        with open(name, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("%s is being written by another run; waiting for it to end", path)
                fcntl.flock(file, fcntl.LOCK_EX)
            # The holder before us unlinked its file: ours counts only if it is still the one others would open.
            if not _is_at(file, name):
                continue
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{what}.{path.name}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exit that unwinds the stack, so that partial outputs go and checkpoints stay."""
    raise SystemExit(128 + signum)
