"""What can be typed after `python -m pipeline`."""

import argparse
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

Command = Callable[[argparse.Namespace], int]

SUBMIT = """\
The settings are those of params.yaml; change some for one run:
  python -m pipeline submit --host http://localhost:8080 --raw s3://bucket/camvid --revision 1 \\
      --overrides '{"train_inverse": {"seed": 1}}' --wait
Retrain every Monday at three in the morning (UTC):
  python -m pipeline submit --host http://localhost:8080 --raw s3://bucket/camvid --every '0 0 3 * * 1'
A token, if the endpoint wants one, is read from the environment variable KFP_TOKEN or from --token-file."""

STATUS = """\
Exit status of every command: 0 done, or the run succeeded; 1 the run failed or was stopped; 2 something typed is wrong
or was refused, and nothing was started; 3 no contact, or --timeout passed: the run, if any, goes on by itself; 129,
130 or 143 interrupted."""


PROFILES = Path(__file__).parent / "profiles"


def parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """The command line.

    Args:
        commands: What does the work, by name.
    """
    top = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="The six stages on Kubeflow Pipelines.",
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = top.add_subparsers(required=True, metavar="COMMAND")
    site, data, host, waiting = _site("gpu"), _data("of the data set"), _host(), _waiting()

    def add(name: str, about: str, *parents: argparse.ArgumentParser, end: str = STATUS) -> argparse.ArgumentParser:
        # With abbreviations `--token` would be taken for `--token-file`.
        flags = names.add_parser(
            name,
            parents=parents,
            help=about,
            epilog=end,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        flags.set_defaults(command=commands[name])
        return flags

    compiling = add("compile", "write the graph as YAML", site)
    compiling.add_argument("-o", "--output", type=Path, default=Path("pipeline.yaml"), help="(default: %(default)s)")

    add("plan", "tell what would run, and send nothing", site, data)

    submitting = add("submit", "start a run", site, data, host, waiting, end=f"{SUBMIT}\n\n{STATUS}")
    submitting.add_argument("--experiment", default="inverseform", help="(default: %(default)s)")
    submitting.add_argument("--run-name", help="(default: the time)")
    submitting.add_argument("--no-cache", action="store_true", help="run also what ran before with equal inputs")
    submitting.add_argument("--every", metavar="CRON", help="again and again: second minute hour day month weekday")

    here = _data("folder or file of the data set, which containers may read")
    local = add("run-local", "run the graph in its containers on this machine", _site("cpu", tag="dev"), here)
    local.add_argument("--work", type=Path, required=True, metavar="DIR", help="of runs and their checkpoints")
    local.add_argument("--outputs", type=Path, metavar="DIR", help="new, as STAGE/PORT (default: outputs in --work)")
    local.add_argument(
        "--memory", type=_above_zero, metavar="GIB", help="of a container (default: 3/4 of the machine's)"
    )
    local.add_argument("--retries", action="store_true", help="try failed tasks again, as the cluster would")

    training = add("train-job", "write a training on several nodes as a TrainJob of Kubeflow Trainer", _site("gpus"))
    training.add_argument("stage", metavar="STAGE", help="train_inverse or train_segmentation")
    training.add_argument("-o", "--output", type=Path, help="for kubectl create -f (default: it is printed)")
    training.add_argument("--nodes", type=int, default=2, metavar="N", help="(default: %(default)s)")
    training.add_argument("--data", default="inverseform-data", metavar="CLAIM", help="with inputs and outputs")
    training.add_argument(
        "--input", nargs="*", default=[], metavar="NAME=FOLDER", help="of an input on that claim (default: its name)"
    )
    training.add_argument("--outputs", metavar="FOLDER", help="on that claim (default: the stage's name)")
    training.add_argument(
        "--runtime", default="torch-distributed", help="ClusterTrainingRuntime (default: %(default)s)"
    )

    asking = add("status", "tell what a run is doing", host, waiting)
    asking.add_argument("run", type=_run_id, metavar="RUN", help="its id, as submit prints it")
    return top


def _above_zero(text: str) -> float:
    """A number of seconds or GiB; argparse shows the message."""
    with contextlib.suppress(ValueError):
        # Three years, or more memory than there is; Python's sleep knows no much longer ones.
        if 0 < (number := float(text)) < 1e8:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and below 100 millions")


def _run_id(text: str) -> str:
    """The id of a run; argparse shows the message."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id, which has letters, digits and hyphens; submit prints it")
    return text


class _Refuse(argparse.Action):
    """What is typed with a command stands in the shell's history and in lists of processes."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"{option_string}: others can read it there; put the token in KFP_TOKEN, or see --token-file")


def _site(profile: str, *, tag: str | None = None) -> argparse.ArgumentParser:
    """The settings, and the cluster that the graph is compiled for; with a tag, in images of this machine."""
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings (default: %(default)s)")
    flags.add_argument("--overrides", default="{}", metavar="JSON", help="settings to change, by stage")
    file, about = PROFILES / f"{profile}.yaml", f"the cluster (default: {profile}.yaml of pipeline/profiles)"
    flags.add_argument("--profile", type=Path, default=file, metavar="FILE", help=about)
    for size, stages in (("small", "ingest and synthesize"), ("large", "the other four")):
        image = f"localhost/inverseform/{size}:{tag}" if tag else None
        about = f"of {stages} (default: {image or 'that of the profile'})"
        flags.add_argument(f"--{size}-image", default=image, metavar="IMAGE", help=about)
    flags.add_argument("--claim", metavar="NAME", help="volume claim of checkpoints (default: that of the profile)")
    return flags


def _data(about: str) -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--raw", required=True, metavar="URI", help=about)
    flags.add_argument("--revision", help="of the data set: another one makes the cache forget what came of the last")
    return flags


def _host() -> argparse.ArgumentParser:
    """Where Kubeflow is, and what it takes to be let in."""
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--host", required=True, metavar="URL", help="of Kubeflow Pipelines")
    flags.add_argument("--ui", metavar="URL", help="of its web page, for links (default: that of --host)")
    flags.add_argument("--namespace", help="where the cluster has several users")
    flags.add_argument("--token", action=_Refuse, help=argparse.SUPPRESS)
    flags.add_argument("--token-file", type=Path, metavar="FILE", help="read for every request; goes before KFP_TOKEN")
    flags.add_argument("--ca", type=Path, metavar="FILE", help="certificate of the cluster's own authority, PEM")
    return flags


def _waiting() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--wait", action="store_true", help="until the run has ended, and tell how its tasks go")
    flags.add_argument("--timeout", type=_above_zero, metavar="SECONDS", help="wait no longer (default: no limit)")
    flags.add_argument("--poll", type=_above_zero, default=10, metavar="SECONDS", help="between looks (default: 10)")
    return flags
