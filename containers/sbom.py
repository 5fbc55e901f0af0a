"""A bill of materials of an image: CycloneDX, as JSON. Python's packages by cyclonedx-bom, Debian's by dpkg."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from containers import cache
from containers.engine import docker

TOOL = "cyclonedx-bom==7.5.0"


def write(image: str, path: Path, *, packages: str, host: str, python: str) -> None:
    """Write the bill of an image; what it holds is asked once for all images with the same packages.

    Args:
        image: Its name.
        path: Where the bill goes.
        packages: The name of the image below it, which has all but our code.
        host: The engine.
        python: Version of the image's Python, such as 3.11.
    """
    known = cache.root() / "sbom" / f"{packages.rpartition('/')[2].replace(':', '-')}.cdx.json"
    known.parent.mkdir(parents=True, exist_ok=True)
    if not known.exists():
        partial = known.with_name(f"partial-{os.getpid()}")
        partial.write_text(json.dumps(_asked(packages, host=host, python=python)))
        partial.rename(known)
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image, host=host).stdout)
    bill = json.loads(known.read_text())
    bill["metadata"]["component"] = {
        "type": "container", "bom-ref": "image", "name": labels["org.opencontainers.image.title"],
        "version": labels["org.opencontainers.image.version"],
        "licenses": [{"license": {"id": labels["org.opencontainers.image.licenses"]}}],
    }  # fmt: skip
    path.write_text(json.dumps(bill, indent=1) + "\n")


def _asked(image: str, *, host: str, python: str) -> dict[str, Any]:
    """What an image holds; nothing is installed in it for that."""
    run = ("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL")
    # Not by PYTHONPATH: the tool asks another Python what it finds, and that one would find the tool.
    script = "import runpy, sys; sys.path.insert(0, '/tool'); runpy.run_module('cyclonedx_py', run_name='__main__')"
    tool = ("-v", f"{_tool(python)}:/tool:ro", image, "python", "-c", script)
    told = docker(*run, *tool, "environment", "--of=JSON", "--output-reproducible", "/opt/venv/bin/python", host=host)
    query = ("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n")
    return with_debian(json.loads(told.stdout), docker(*run, image, *query, host=host).stdout)


def with_debian(bill: dict[str, Any], listed: str) -> dict[str, Any]:
    """A bill with the packages of dpkg-query's lines: name, version and architecture, with tabs between."""
    components = []
    for line in listed.splitlines():
        name, version, architecture = line.split("\t")
        url = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        components.append({"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url})
    return {**bill, "components": [*bill.get("components", []), *components]}


def _tool(python: str) -> Path:
    """The folder in which cyclonedx-bom is installed, for the Python of an image; made once."""
    folder = cache.root() / f"{TOOL.replace('==', '-')}-{python}"
    if not folder.exists():
        partial = folder.with_name(f"partial-{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--only-binary=:all:"]
        command += ["--python-version", python, "--target", partial]
        try:
            subprocess.run([*command, TOOL], check=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder
