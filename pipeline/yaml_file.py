"""Files of YAML that people write: read as they stand there, or refused."""

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from pipeline import InputError


def read(file: Path, *, flag: str) -> Any:  # noqa: ANN401 (whatever YAML holds)
    """What a file holds.

    Args:
        file: The file.
        flag: By which it was named.

    Raises:
        InputError: It cannot be read, is no YAML, or has a key twice: YAML takes the last of them without a word.
    """
    try:
        # The loader is PyYAML's safe one, but for the keys.
        return yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(f"{flag} {file}: {error.strerror}; type {flag} and the name of a file of YAML") from None
    except RecursionError:
        raise InputError(f"{flag} {file} is not YAML: it is nested too deeply; mend it there") from None
    # A date that no calendar has is a ValueError, as is what is no UTF-8.
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{flag} {file} is not YAML: {error}; mend it there") from None


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (its stubs are wrong)
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ComposerError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return node
