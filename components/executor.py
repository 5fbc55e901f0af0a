"""What Kubeflow Pipelines tells a stage, and what it wants to be told: the JSON of `--executor-input`, and back."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inverseform.settings import InputError

MOUNTS = {"gs": "gcs", "s3": "s3", "minio": "minio", "oci": "oci"}
"""Under which folder of the root KFP's launcher mounts artifacts, by the scheme of their URI."""
NO_VALUE = -1.0
"""An output parameter for a figure that has no value, as KFP takes no null there: no share is below 0."""


class Executor:
    """The executor input of a task: its parameters, and where its artifacts lie.

    Raises:
        InputError: It is not what KFP hands over.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._input: dict[str, Any] = json.loads(text)
            self._parameters: dict[str, Any] = self._input["inputs"]["parameterValues"]
        except (json.JSONDecodeError, LookupError, TypeError) as error:
            raise self._foreign(error) from error

    def parameter(self, name: str) -> Any:  # noqa: ANN401 (whatever JSON holds)
        """An input parameter of KFP.

        Raises:
            InputError: There is none of that name.
        """
        try:
            return self._parameters[name]
        except (LookupError, TypeError) as error:
            raise self._foreign(error) from error

    def number(self, name: str) -> int:
        """A parameter that is a whole number; KFP's JSON may spell one as 3.0.

        Raises:
            InputError: There is none of that name, or it is no whole number.
        """
        value = self.parameter(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise self._foreign(ValueError(f"{name} is {value!r}, no whole number"))
        return int(value)

    def folder(self, name: str, *, stage: str) -> Path:
        """The place of a stage's checkpoints: FOLDER/STAGE/WORK, in the folder that a parameter says.

        WORK is a digest of the settings, of the data set's revision and of the addresses of what is read: a task that
        is tried again, and another run that is asked for the very same, go on from what is there, and no two that
        differ share a place. (KFP writes nothing twice to one address. A path on this machine is no address, and a
        stage refuses the checkpoints of other inputs itself.) That FOLDER is the same in every run keeps it out of
        KFP's cache, which would miss if each run had its own.
        """
        artifacts = self._input["inputs"].get("artifacts", {})
        addresses = [
            [port, artifact["uri"]]
            for port, found in sorted(artifacts.items())
            for artifact in found["artifacts"]
            if "://" in artifact["uri"]
        ]
        work = json.dumps([self.parameter("params"), self._parameters.get("revision"), addresses])
        return Path(self.parameter(name), stage, hashlib.sha256(work.encode()).hexdigest()[:16])

    def artifacts(self, *, inputs: Iterable[str], outputs: Iterable[str]) -> dict[str, Path]:
        """Local paths of artifacts by their names.

        Raises:
            InputError: One is not there, or lies where the launcher mounts nothing.
        """
        given, made = self._input["inputs"], self._input.get("outputs", {})
        try:
            return {
                **{name: _local(given["artifacts"][name]["artifacts"][0]) for name in inputs},
                **{name: _local(made["artifacts"][name]["artifacts"][0]) for name in outputs},
            }
        except (LookupError, TypeError) as error:
            raise self._foreign(error) from error

    def answer(self, report: Mapping[str, Any]) -> None:
        """Write the file that tells KFP which artifacts and parameters there are.

        A container component has no outputs but those listed there. The figures of the report become the metadata of
        the artifact `metrics`, and those parameters of KFP that have their name; its `confusion`, if KFP asks for an
        artifact of that name, becomes the metadata by which KFP draws the matrix, and the file of that artifact.
        """
        outputs = self._input["outputs"]
        figures = {name: value for name, value in report.items() if _can_be_told(value)}
        artifacts = {}
        for name, entry in outputs.get("artifacts", {}).items():
            artifact = entry["artifacts"][0]
            # KFP shows the metadata of such artifacts on the page of a run; their files it does not read.
            metadata = {"metrics": figures}.get(name, {})
            if name == "confusion":
                metadata = {"confusionMatrix": _matrix(**report["confusion"])}
                _write(_local(artifact), report["confusion"])
            artifacts[name] = {"artifacts": [{"name": artifact["name"], "uri": artifact["uri"], "metadata": metadata}]}
        wanted = outputs.get("parameters", {})
        parameters = {name: figures[name] if report[name] is not None else NO_VALUE for name in wanted}
        _write(Path(outputs["outputFile"]), {"parameterValues": parameters, "artifacts": artifacts})

    def _foreign(self, error: Exception) -> InputError:
        return InputError(
            f"--executor-input: {self._text[:80]!r} is not what Kubeflow Pipelines hands over ({error!r}); "
            f"outside of it, give --params and the paths"
        )


def _matrix(classes: list[str], counts: list[list[int]]) -> dict[str, Any]:
    """A confusion matrix as KFP's page reads it: a row for each actual class."""
    return {"annotationSpecs": [{"displayName": name} for name in classes], "rows": [{"row": row} for row in counts]}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    # The launcher makes this folder on a cluster; KFP's local runner does not.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


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
