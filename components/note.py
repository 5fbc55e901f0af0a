"""The last task of a run on Kubeflow Pipelines: a note on how the run ended, and where an unfinished one goes on from.

`python -m components.note --executor-input JSON`, which is all it takes; no stage, and no part of what DVC runs.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from components.executor import Executor
from inverseform.settings import InputError

log = logging.getLogger("inverseform")


def note(status: Mapping[str, Any], *, checkpoints: str, claim: str) -> str:
    """The note, in Markdown.

    Args:
        status: KFP's PipelineTaskFinalStatus of all tasks before this one: `state`, and after a failure `error`, whose
            `message` names the task, as far as the backend tells it.
        checkpoints: The folder of all checkpoints, on the volume.
        claim: The PersistentVolumeClaim of that volume.
    """
    state = status.get("state", "unknown")
    if state == "SUCCEEDED":
        return (
            "# The run succeeded\n\n"
            "All stages ran, or were found in the cache. Finished stages emptied their checkpoints.\n"
        )
    message = (status.get("error") or {}).get("message") or "the backend did not say."
    return (
        f"# The run ended: {state}\n\n"
        f"**What failed:** {message} The task that is red on the page of the run has the log.\n\n"
        f"**What is kept:** the checkpoints of unfinished stages, in `{checkpoints}/STAGE/` on the claim `{claim}`. "
        f"Start the same run again: finished tasks come from the cache, and unfinished ones go on from there.\n\n"
        f"**To begin anew instead:** remove the stage's folder there.\n"
    )


def main() -> None:
    """Write the note and say it; leaves with 0 however the run ended, and with 2 for another executor input."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor-input", required=True, help="the JSON that Kubeflow Pipelines hands over")
    given = parser.parse_args()
    try:
        executor = Executor(given.executor_input)
        status = executor.parameter("status")
        # As a struct, or as JSON in a string: backends differ.
        status = json.loads(status) if isinstance(status, str) else status
        # Whatever it is, a run that ended is noted.
        status = status if isinstance(status, Mapping) else {}
        text = note(status, checkpoints=executor.parameter("checkpoints"), claim=executor.parameter("claim"))
        place = executor.artifacts(inputs=[], outputs=["note"])["note"]
    except (InputError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    executor.answer({})
    for line in filter(None, text.splitlines()):
        log.info("%s", line)


if __name__ == "__main__":
    main()
