"""What is in the images, and what is not."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from containers.build import bill_of
from containers.engine import client, docker, environment
from tests.drawn import ROOT

SECRETS = {
    "PRIVATE KEY-----": r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "AKIA": r"\bAKIA[0-9A-Z]{16}\b",
    "gh": r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
    "hf_": r"\bhf_[A-Za-z]{34}\b",
    "AIza": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "://": r"https?://[\w.-]{3,}:[^/\s:@\"'{}$%<]{12,}@",
}
"""Private keys, tokens of clouds and hubs, passwords in addresses; by a word that each has."""
MOST = {"small": 1.4e9, "large": 1.1e9}
"""Bytes; of the large image over torch, torchvision and all that pip installs for those two alone."""
CLOSURE = """
import importlib.metadata as metadata, json, re
from packaging.requirements import Requirement
def needed(names):
    found, left = set(), list(names)
    while left:
        name = re.sub("[-_.]+", "-", left.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            each = Requirement(line)
            for extra in ("", *EXTRAS.get(name, ())):
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    EXTRAS.setdefault(re.sub("[-_.]+", "-", each.name).lower(), set()).update(each.extras)
                    left.append(each.name)
    return found
EXTRAS = {}
needed(["torch", "torchvision"])
names = needed(["torch", "torchvision"])
files = {file.locate() for name in names for file in metadata.files(name) or ()}
sizes = {str(path): path.stat().st_size for path in files if path.exists()}
bytecode = {str(each): each.stat().st_size for path in files if path.suffix == ".py"
            for each in (path.parent / "__pycache__").glob(path.stem + ".*.pyc")}
print(sum(sizes.values()) + sum(bytecode.values()))
"""
INSTALLED = """
import importlib.metadata as metadata, json, re
print(json.dumps({re.sub("[-_.]+", "-", d.name).lower(): d.version for d in metadata.distributions()}))
"""


@pytest.fixture(scope="module", params=["small", "large"])
def image(request, images):
    return request.param


@pytest.fixture(scope="module")
def config(host, images, image):
    return json.loads(docker("image", "inspect", images[image], host=host).stdout)[0]


@pytest.fixture(scope="module")
def installed(sandbox, images, image):
    return json.loads(sandbox.script(images[image], INSTALLED))


@pytest.fixture(scope="module")
def places():
    """Words that tell of this machine and of where its packages come from: asked for, and nowhere written down."""
    words = {str(ROOT), socket.gethostname()}
    words |= {str(Path.home())} - {"/root"}  # Debian's own files name that
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    for value in re.split(r"[\s'=]+", listed.stdout):
        address = urlsplit(value)
        words |= {address.hostname or "", address.path if address.scheme in ("", "file") else ""}
    words |= {urlsplit(value).hostname or "" for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    # The bundle of certificates lies where Debian has it, on every machine.
    return sorted(word for word in words if (word.startswith("/") or "." in word) and "ca-certificates" not in word)


@pytest.fixture(scope="module")
def scanned(host, images, image, places):
    command = [client(), "run", "--rm", "--interactive", "--network=none", "--read-only", "--user=0"]
    command += [f"--volume={Path(__file__).with_name('scan.py')}:/scan.py:ro", images[image], "python", "/scan.py"]
    asked = json.dumps({"secrets": SECRETS, "places": places})
    done = subprocess.run(command, env=environment(host), input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_scanner_finds_what_it_looks_for(host, images):
    asked = json.dumps({"secrets": {"root:": "root:x:[0-9]"}, "places": ["nologin"]})
    command = [client(), "run", "--rm", "-i", "--network=none", "--user=0", "--tmpfs=/tmp"]
    command += [f"--volume={Path(__file__).with_name('scan.py')}:/scan.py:ro", images["small"], "sh", "-c"]
    plant = "touch /tmp/pip.conf /tmp/a.pem; python /scan.py"
    done = subprocess.run([*command, plant], env=environment(host), input=asked, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert ["/etc/passwd", "root:x:0"] in found["secrets"] and ["/etc/passwd", "nologin"] in found["places"]
    assert found["settings"] == ["/tmp/pip.conf"] and found["certificates"] == ["/tmp/a.pem"]


def test_no_file_tells_of_the_machine_that_built_it(scanned):
    assert scanned["seen"] > 5000
    assert not scanned["secrets"] and not scanned["places"] and not scanned["settings"]


def test_certificates_are_those_of_the_distribution(scanned):
    assert not scanned["certificates"] and not scanned["added"]
    assert scanned["trusted"] == scanned["distributed"] > 100


def test_neither_the_settings_nor_the_history_tell_of_it(host, images, image, config, places):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", images[image], host=host).stdout
    for text in (history, json.dumps(config["Config"])):
        assert not [rule for rule in SECRETS.values() if re.search(rule, text)]
        assert not [place for place in places if place in text]
    # What a layer hides of one below stays in the image: nothing but the copies of our code lies above the packages.
    assert [line.split()[0] for line in history.splitlines() if line.startswith(("COPY", "ADD"))] == ["COPY"] * 3
    assert [line.split()[0] for line in history.splitlines() if line].count("RUN") == 2


def test_it_is_run_as_a_user_by_a_command_of_its_caller(config):
    settings = config["Config"]
    assert settings["User"] == "10001:10001" and not settings["Entrypoint"] and settings["StopSignal"] == "SIGTERM"


def test_its_labels_say_what_it_is(config, image):
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Config"]["Labels"].items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels["title"] == f"inverseform-{image}" and labels["licenses"] == project["license"]
    assert labels["version"] == project["version"] and image == (
        "small" if "no network" in labels["description"] else "large"
    )
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])


def test_the_packages_are_those_of_constraints(installed, image):
    locked = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in locked.items()}
    others = {name for name, version in installed.items() if locked.get(name) != version}
    assert others == ({"torch"} if image == "small" else set())
    assert not {"pip", "kfp", "dvc", "pytest"} & installed.keys()


def test_the_bill_of_materials_has_every_package(host, images, image, installed):
    bill = json.loads(bill_of(image).read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == f"inverseform-{image}"
    urls = [component["purl"] for component in bill["components"]]
    assert len(urls) == len(set(urls))
    python = {
        re.sub(r"[-_.]+", "-", c["name"]).lower(): c["version"] for c in bill["components"] if "pypi" in c["purl"]
    }
    assert python == installed
    listed = docker("run", "--rm", "--network=none", images[image], "dpkg-query", "-W", "-f", "${Package}\n", host=host)
    assert sorted(c["name"] for c in bill["components"] if "pkg:deb/" in c["purl"]) == sorted(listed.stdout.split())
    licensed = [c for c in bill["components"] if "pypi" in c["purl"] and c.get("licenses")]
    assert len(licensed) > 0.9 * len(python)


def test_it_is_no_larger_than_it_need_be(sandbox, images, image, config):
    size = config["Size"]
    if image == "large":
        size -= int(sandbox.script(images[image], CLOSURE))
    print(f"{image}: {size / 1e9:.3f} GB")
    assert size <= MOST[image]
