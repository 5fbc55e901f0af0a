"""Where data are: a local path, or a URL of any file system that fsspec knows, such as s3://bucket/raw.

What is behind a URL walks, lists and reads as a path does. Credentials come from where the file system itself looks for
them: its environment variables and files.
"""

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from inverseform.settings import InputError


def locate(text: str | Path) -> Path:
    """The path of a text; with a `://` in it, one of fsspec's.

    Raises:
        InputError: Nothing installed reads such a URL, or it has a password in it.
    """
    if not isinstance(text, str) or "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme in ("file", "local"):
        return Path(text.partition("://")[2])
    if "@" in parts.netloc:
        # Without the URL: logs keep what is printed.
        raise InputError(
            f"a {parts.scheme}:// URL has a user or a password in it, which logs would keep; leave it out, and set "
            f"the environment variables of that file system (AWS_ACCESS_KEY_ID and the like)"
        )
    try:
        import fsspec
        from upath import UPath

        fsspec.get_filesystem_class(parts.scheme)
    except ImportError as error:
        raise InputError(
            f'{text}: {error}; pip install "inverseform[remote]" and what reads {parts.scheme}://'
        ) from error
    except ValueError as error:
        raise InputError(f"{text}: {error}; fsspec knows file, memory, s3, gs, az, http and others") from error
    # No subclass of Path, but it has all of one that reading takes.
    return cast(Path, UPath(text))
