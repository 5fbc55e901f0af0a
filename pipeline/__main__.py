"""`python -m pipeline compile` and `python -m pipeline submit`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import InputError, nearest

if TYPE_CHECKING:
    from pipeline.graph import Site

EXAMPLE = """\
The settings are those of params.yaml; change some for one run:
  python -m pipeline submit --host http://localhost:8080 --raw s3://bucket/camvid-1 \\
      --overrides '{"train_inverse": {"seed": 1}}' --wait
A token, if the endpoint wants one, is read from the environment variable KFP_TOKEN."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 if a run that was waited for failed, 2 for bad input."""
    given = _parser().parse_args(argv)
    try:
        return given.command(given)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    return 2


def _compile(given: argparse.Namespace) -> int:
    """The graph as a file."""
    # kfp takes half a second to import: --help and a wrong flag do without.
    from pipeline import arguments, submit

    site = _site(given)
    settings = arguments.as_json(arguments.sections(given.params, given.overrides))
    submit.compile_graph(given.output, site=site, defaults=settings)
    print(f"{given.output}: upload it on the pipelines page, or start it with `python -m pipeline submit`")
    return 0


def _submit(given: argparse.Namespace) -> int:
    """A run of the graph, made from the code and the settings as they are now."""
    from pipeline import arguments, submit

    settings = arguments.as_json(arguments.sections(given.params, given.overrides)) | {"raw": given.raw}
    endpoint = submit.Endpoint(given.host, os.environ.get("KFP_TOKEN"), given.namespace)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        submit.compile_graph(package, site=_site(given), defaults={})
        run = submit.submit(endpoint, package, settings, experiment=given.experiment, run_name=given.run_name)
    # kfp printed the addresses.
    print(f"run {run} started", flush=True)
    if not given.wait:
        return 0
    state = submit.wait(endpoint, run, seconds=given.poll)
    print(f"run {run} ended: {state}")
    return 0 if state == "SUCCEEDED" else 1


def _site(given: argparse.Namespace) -> "Site":
    """The site of the flags; what is doubtful about it is printed."""
    from pipeline import graph, submit

    for stage in given.gpu:
        if stage not in graph.STAGES:
            raise InputError(f"--gpu {stage} is not a stage; did you mean {nearest(stage, graph.STAGES)}?")
    site = graph.Site(given.small_image, given.large_image, given.claim, tuple(given.gpu))
    for doubt in submit.doubts(site):
        print(f"warning: {doubt}", file=sys.stderr)
    return site


def _parser() -> argparse.ArgumentParser:
    """Both commands; they share what describes the site and the settings."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="The six stages on Kubeflow Pipelines.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    site = argparse.ArgumentParser(add_help=False)
    site.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings (default: %(default)s)")
    site.add_argument("--overrides", default="{}", metavar="JSON", help="settings to change, by stage")
    site.add_argument("--small-image", default="localhost/inverseform/small:0.1.0", help="of ingest and synthesize")
    site.add_argument("--large-image", default="localhost/inverseform/large:0.1.0", help="of the other four")
    site.add_argument("--claim", default="inverseform-checkpoints", help="PersistentVolumeClaim for checkpoints")
    site.add_argument(
        "--gpu",
        nargs="*",
        default=["train_inverse", "train_segmentation"],
        metavar="STAGE",
        help="stages that ask for a GPU (default: the two trainings; evaluate can use one too)",
    )

    compiling = commands.add_parser("compile", parents=[site], help="write the graph as YAML")
    compiling.add_argument("-o", "--output", type=Path, default=Path("pipeline.yaml"), help="(default: %(default)s)")
    compiling.set_defaults(command=_compile)

    # A flag for the token would end up in the shell's history and in logs.
    raw = argparse.RawDescriptionHelpFormatter
    submitting = commands.add_parser("submit", parents=[site], help="start a run", epilog=EXAMPLE, formatter_class=raw)
    submitting.add_argument("--host", required=True, metavar="URL", help="of Kubeflow Pipelines")
    submitting.add_argument(
        "--raw", required=True, metavar="URI", help="of the data set, with its revision in the name"
    )
    submitting.add_argument("--namespace", help="where the cluster has several users")
    submitting.add_argument("--experiment", default="inverseform", help="(default: %(default)s)")
    submitting.add_argument("--run-name", help="(default: the time)")
    submitting.add_argument("--wait", action="store_true", help="until the run has ended")
    submitting.add_argument("--poll", type=float, default=10, metavar="SECONDS", help="between looks (default: 10)")
    submitting.set_defaults(command=_submit)
    return parser


if __name__ == "__main__":
    sys.exit(main())
