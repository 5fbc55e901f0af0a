"""What Kubeflow Pipelines tells a stage, and what it wants to be told: the JSON of `--executor-input`, and back."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inverseform.settings import InputError

MOUNTS = {"gs": "gcs", "s3": "s3", "minio": "minio", "oci": "oci"}
"""Under which folder of the root KFP's launcher mounts artifacts, by the scheme of their URI."""


class Executor:
    """The executor input of a task: its settings, and where its artifacts lie.

    Raises:
        InputError: It is not what KFP hands over.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._input: dict[str, Any] = json.loads(text)
            self.params: str = self._input["inputs"]["parameterValues"]["params"]
        except (json.JSONDecodeError, LookupError, TypeError) as error:
            raise self._foreign(error) from error

    def paths(self, *, inputs: Iterable[str], outputs: Iterable[str], scratch: Iterable[str]) -> dict[str, Path]:
        """Local paths by the names of a stage's parameters; scratch folders come as parameters of KFP.

        Raises:
            InputError: One is not there, or lies where the launcher mounts nothing.
        """
        given, made = self._input["inputs"], self._input.get("outputs", {})
        try:
            return {
                **{name: _local(given["artifacts"][name]["artifacts"][0]) for name in inputs},
                **{name: _local(made["artifacts"][name]["artifacts"][0]) for name in outputs},
                **{name: Path(given["parameterValues"][name]) for name in scratch},
            }
        except (LookupError, TypeError) as error:
            raise self._foreign(error) from error

    def answer(self, report: Mapping[str, Any]) -> None:
        """Write the file that tells KFP which artifacts and parameters there are.

        A container component has no outputs but those listed there. The figures of the report become the metadata of
        the artifact `metrics`, and those parameters of KFP that have their name.
        """
        outputs = self._input["outputs"]
        figures = {name: value for name, value in report.items() if _can_be_told(value)}
        artifacts = {}
        for name, entry in outputs.get("artifacts", {}).items():
            artifact = entry["artifacts"][0]
            # KFP shows the metadata of a Metrics artifact on the page of a run; the file itself it does not read.
            metadata = figures if name == "metrics" else {}
            artifacts[name] = {"artifacts": [{"name": artifact["name"], "uri": artifact["uri"], "metadata": metadata}]}
        parameters = {name: figures[name] for name in outputs.get("parameters", {})}
        file = Path(outputs["outputFile"])
        # The launcher makes this folder on a cluster; KFP's local runner does not.
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"parameterValues": parameters, "artifacts": artifacts}))

    def _foreign(self, error: Exception) -> InputError:
        return InputError(
            f"--executor-input: {self._text[:80]!r} is not what Kubeflow Pipelines hands over ({error!r}); "
            f"outside of it, give --params and the paths"
        )


def _local(artifact: Mapping[str, Any]) -> Path:
    """Where an artifact lies in the container; with KFP's local runner a URI is a path already."""
    if custom := artifact.get("customPath"):
        return Path(custom)
    scheme, separator, rest = artifact["uri"].partition("://")
    if not separator:
        return Path(artifact["uri"])
    if scheme not in MOUNTS:
        raise InputError(
            f"artifact URI {artifact['uri']}: the schemes are {', '.join(MOUNTS)}; store it at one of them"
        )
    return Path("/", MOUNTS[scheme], rest)


def _can_be_told(value: object) -> bool:
    """JSON has no word for nan or infinity, and KFP's launcher refuses the whole file for one."""
    return isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
