"""What a stage in its container does when it is stopped, told wrong things, shut out, or starved of memory."""

import time

import pytest

from inverseform import weights
from tests.drawn import ROOT


def ended_after(seconds, sandbox, inputs):
    """A training that gets SIGTERM so long after it has locked its outputs, which is the last before its own work."""
    running = sandbox.start("train_inverse", inputs)
    try:
        running.wait_for(running.out / ".lock.inverse_net")
        time.sleep(seconds)
        running.signal("TERM")
        return running.end()
    except BaseException:
        running.remove()
        raise


def test_a_training_that_is_ended_leaves_a_checkpoint_and_its_rerun_ends_as_an_undisturbed_one(
    sandbox, settings, stages
):
    inputs = {"params": settings, "pairs": stages["synthesize"].out / "pairs"}
    # How long it takes from there to the first step is the machine's affair; the checkpoint shows that it was enough.
    for seconds in (1, 2, 4, 8, 16):
        ended = ended_after(seconds, sandbox, inputs)
        assert ended.status == 143, ended.said
        if any(ended.out.iterdir()):
            break
    assert [path.name for path in ended.out.iterdir()] == ["checkpoints"]
    [checkpoint] = (ended.out / "checkpoints").glob("step-*")
    step = int(checkpoint.name.removeprefix("step-"))
    assert 0 < step < 600
    again = sandbox.run("train_inverse", inputs, out=ended.out)
    assert again.status == 0, again.said
    assert f"going on from step {step} " in again.said
    undisturbed = stages["train_inverse"].out
    assert weights.digest(again.out / "inverse_net") == weights.digest(undisturbed / "inverse_net")
    assert (again.out / "curves").read_bytes() == (undisturbed / "curves").read_bytes()


@pytest.mark.parametrize("stage", ["ingest", "export"])
def test_bad_settings_are_refused_by_their_name_with_status_2(sandbox, stages, tmp_path, stage):
    (tmp_path / "params.yaml").write_text(f"{stage}: {{wrkers: 2}}\n")
    samples, segmenter, gate = (
        stages[name].out / port
        for name, port in (("ingest", "samples"), ("train_segmentation", "segmenter"), ("evaluate", "gate"))
    )
    inputs = {"raw": tmp_path} if stage == "ingest" else {"samples": samples, "segmenter": segmenter, "gate": gate}
    ended = sandbox.run(stage, {"params": tmp_path / "params.yaml", **inputs})
    assert ended.status == 2, ended.said
    assert f"{stage}.wrkers" in ended.said and "Traceback" not in ended.said
    assert not any(ended.out.iterdir())


def test_a_full_disk_is_told_and_ends_the_stage(sandbox, tmp_path):
    # Again and again: in the Python of the images, what is being sent to a process that has ended can wait for ever.
    for _ in range(3):
        ended = sandbox.run("ingest", {"params": ROOT / "params.yaml", "raw": tmp_path}, room="300k")
        assert ended.status == 2 and "the disk is full; free some space" in ended.said, ended.said
        assert "Traceback" not in ended.said


def test_input_that_is_no_store_is_refused_by_its_path_with_status_2(sandbox, settings, tmp_path):
    ended = sandbox.run("synthesize", {"params": settings, "samples": tmp_path})
    assert ended.status == 2, ended.said
    assert "error: " in ended.said and "/in/samples" in ended.said and "Traceback" not in ended.said
    assert not any(ended.out.iterdir())


@pytest.mark.parametrize("stage", ["ingest", "synthesize"])
def test_a_folder_that_it_may_not_write_is_named_with_status_2(sandbox, settings, stages, tmp_path, stage):
    inputs = {"raw": tmp_path} if stage == "ingest" else {"samples": stages["ingest"].out / "samples"}
    ended = sandbox.run(stage, {"params": settings, **inputs}, writable=False)
    assert ended.status == 2, ended.said
    assert "/out/" in ended.said and "Permission denied" in ended.said and "Traceback" not in ended.said
    assert not any(ended.out.iterdir())


@pytest.mark.parametrize(("stage", "memory"), [("ingest", "48m"), ("train_inverse", "96m")])
def test_out_of_memory_is_137_and_leaves_nothing_that_looks_whole(sandbox, settings, stages, tmp_path, stage, memory):
    inputs = {"raw": tmp_path} if stage == "ingest" else {"pairs": stages["synthesize"].out / "pairs"}
    ended = sandbox.run(stage, {"params": settings, **inputs}, memory=memory)
    assert ended.status == 137 and ended.out_of_memory
    assert not [path for path in ended.out.iterdir() if not path.name.startswith((".partial", ".lock", "checkpoints"))]


def test_a_killed_container_is_137_and_not_out_of_memory(sandbox, settings, stages):
    running = sandbox.start("train_inverse", {"params": settings, "pairs": stages["synthesize"].out / "pairs"})
    try:
        running.wait_for(running.out / ".lock.inverse_net")
        running.signal("KILL")
        ended = running.end()
    except BaseException:
        running.remove()
        raise
    assert ended.status == 137 and not ended.out_of_memory
    assert not (ended.out / "inverse_net").exists()


def test_a_container_has_no_rights_no_network_and_no_disk(sandbox):
    script = """
import os, socket
from pathlib import Path
def refused(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "allowed"
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
print(os.getuid(), os.getgid(), int(status["CapEff"], 16), status["NoNewPrivs"].strip(), status["Seccomp"].strip())
print(sorted(os.listdir("/sys/class/net")), refused(lambda: socket.create_connection(("192.0.2.1", 443), 2)))
print(refused(lambda: Path("/app/x").write_text("")), refused(lambda: Path("/opt/venv/x").write_text("")))
Path("/tmp/x").write_text("")
"""
    for image in sandbox.images.values():
        said = sandbox.script(image, script).splitlines()
        assert said[0] == "10001 10001 0 1 2"
        assert said[1] == "['lo'] OSError"
        assert said[2] == "OSError OSError"
