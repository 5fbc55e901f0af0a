"""The base of the images, made of Debian's packages without apt: bit for bit the same from the same packages."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from containers import cache
from containers.engine import NoEngine, docker

SUITE = "bookworm"
"""Debian 12, whose Python is 3.11."""
EPOCH = "1767225600"
"""The time that all files bear, in seconds since 1970."""
PACKAGES = ("python3", "libstdc++6", "ca-certificates", "passwd", "usr-is-merged")
"""Python; what compiled packages need; what Kubeflow's launcher, which runs in the container of a step, needs to speak
to a bucket; useradd. The last stands in for a package that would merge folders, which are merged already, and brings
all of Perl for that."""
RECIPE = (
    "mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # Copied from this machine, whose affairs they are.
    '--customize-hook=rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/apt/sources.list',
    SUITE,
)  # fmt: skip


def tar() -> Path:
    """The file system of the base; made once, and again when the recipe is another or the file is deleted.

    Raises:
        NoEngine: There is no mmdebstrap, so nothing to build on.
        subprocess.CalledProcessError: It failed.
    """
    name = hashlib.sha256("\n".join((*RECIPE, EPOCH)).encode()).hexdigest()[:12]
    path = cache.root() / f"base-{SUITE}-{name}.tar"
    if not path.exists():
        if shutil.which(RECIPE[0]) is None:
            raise NoEngine(f"no {RECIPE[0]} on the path; apt-get install {RECIPE[0]}, or name another --base-image")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{os.getpid()}.tar")
        try:
            subprocess.run([*RECIPE, partial], env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, check=True)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def image(host: str) -> str:
    """The base in an engine: its name."""
    path = tar()
    name = f"localhost/inverseform/base:{path.stem.rpartition('-')[2]}"
    if not docker("images", "--quiet", name, host=host).stdout:
        docker("import", "--change", "ENV LANG=C.UTF-8", path, name, host=host)
    return name
