import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from components import stage
from components.stage import Input, Output, Report, Scratch
from inverseform.settings import Settings
from tests import foreground
from tests.drawn import ROOT

TOY = '''
"""A stage that does what its settings tell it, under the name of a real one."""
import sys, time
from pathlib import Path
from components import stage
from components.stage import Input, Output, Report, Scratch
from inverseform.settings import InputError, Settings


class ToyParams(Settings):
    do: str
    text: str


def evaluate(
    params: ToyParams, *, raw: Input, samples: Output, metrics: Output, checkpoints: Scratch
) -> Report:
    """Copy and count."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / "last").write_text(params.text)
    samples.mkdir()
    (samples / "one").write_text(raw.read_text() + params.text)
    if params.do == "refuse":
        raise InputError("raw: is 3; write 4")
    if params.do == "crash":
        raise RuntimeError("a bug")
    if params.do == "wait":
        Path("begun").write_text(params.text)
        while not Path("go").exists():
            time.sleep(0.01)
    if params.do == "fill":
        (samples / "two").write_bytes(bytes(4 << 20))
    (samples / "two").write_text(params.text)
    metrics.write_text("{}")
    return {"miou": 0.5, "passed": True, "each": {"a": 1.0}, "none": None, "list": [1.0], "nan": float("nan"),
            "images": 3, "name": "toy"}


if __name__ == "__main__":
    stage.main(evaluate)
'''


class Nothing(Settings):
    """The settings of the stages below: none."""


def copy(params: Nothing, *, raw: Input, samples: Output, metrics: Output, checkpoints: Scratch) -> Report:
    samples.mkdir()
    (samples / "one").write_text(raw.read_text())
    metrics.write_text("{}")
    checkpoints.mkdir(exist_ok=True)
    return {"images": 1}


def fail(params: Nothing, *, raw: Input, samples: Output, metrics: Output, checkpoints: Scratch) -> Report:
    copy(params, raw=raw, samples=samples, metrics=metrics, checkpoints=checkpoints)
    raise RuntimeError("a bug")


def forget(params: Nothing, *, raw: Input, samples: Output, metrics: Output, checkpoints: Scratch) -> Report:
    samples.mkdir()
    return {}  # metrics are not there


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "raw").write_text("new")
    (tmp_path / "out").mkdir()
    out = tmp_path / "out"
    return {"raw": tmp_path / "raw", "samples": out / "samples", "metrics": out / "metrics.json",
            "checkpoints": tmp_path / "checkpoints"}  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_ports_are_read_from_the_signature_in_its_order():
    assert stage.ports(copy, "input") == ["raw"]
    assert stage.ports(copy, "output") == ["samples", "metrics"]
    assert stage.ports(copy, "scratch") == ["checkpoints"]


def test_outputs_appear_and_nothing_is_left_beside_them(paths):
    assert stage.run(copy, Nothing(), paths) == {"images": 1}
    assert (paths["samples"] / "one").read_text() == "new"
    assert names(paths["samples"].parent) == ["metrics.json", "samples"]
    assert not paths["checkpoints"].exists()


def test_folders_for_outputs_are_made(paths):
    deep = paths["samples"].parent / "a" / "b" / "samples"
    stage.run(copy, Nothing(), {**paths, "samples": deep})
    assert names(deep) == ["one"]


def test_outputs_of_an_earlier_run_are_replaced_whole(paths):
    paths["samples"].mkdir()
    (paths["samples"] / "stale").write_text("old")
    stage.run(copy, Nothing(), paths)
    assert names(paths["samples"]) == ["one"]


@pytest.mark.parametrize(("function", "error"), [(fail, RuntimeError), (forget, RuntimeError)])
def test_a_stage_that_fails_leaves_what_was_there_and_nothing_beside_it(paths, function, error):
    paths["samples"].mkdir()
    (paths["samples"] / "one").write_text("old")
    paths["metrics"].write_text("old")
    with pytest.raises(error):
        stage.run(function, Nothing(), paths)
    assert (paths["samples"] / "one").read_text() == paths["metrics"].read_text() == "old"
    assert names(paths["samples"].parent) == ["metrics.json", "samples"]


def test_checkpoints_of_a_failed_stage_stay(paths):
    with pytest.raises(RuntimeError):
        stage.run(fail, Nothing(), paths)
    assert paths["checkpoints"].is_dir()


def test_a_link_in_place_of_an_output_is_replaced_and_what_it_points_to_stays(paths, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep")
    paths["samples"].symlink_to(tmp_path / "precious")
    stage.run(copy, Nothing(), paths)
    assert not paths["samples"].is_symlink()
    assert names(tmp_path / "precious") == ["file"]


def test_a_missing_input_is_named_with_its_option(paths):
    paths["raw"].unlink()
    with pytest.raises(FileNotFoundError, match="--raw; run the stage that makes it") as caught:
        stage.run(copy, Nothing(), paths)
    assert caught.value.filename == str(paths["raw"])
    assert not names(paths["samples"].parent)


def test_a_lock_on_a_file_that_is_gone_is_none(tmp_path):
    """A run that waited for one which has ended must wait for the one that came between them, too."""
    entered = threading.Event()

    def enter():
        with stage._lock(tmp_path / "samples"):
            entered.set()

    name = tmp_path / ".lock.samples"
    with name.open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        waiting = threading.Thread(target=enter)
        waiting.start()
        time.sleep(0.1)
        name.unlink()
        between = name.open("w")
        fcntl.flock(between, fcntl.LOCK_EX)
    assert not entered.wait(0.3)
    name.unlink()
    between.close()
    assert entered.wait(10)
    waiting.join()
    assert not names(tmp_path)


def test_a_digest_is_of_names_and_contents_and_not_of_order_or_time(tmp_path):
    for folder, order in (("a", "xy"), ("b", "yx"), ("c", "xy"), ("d", "xz")):
        for name in order:
            (tmp_path / folder / "deep").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "deep" / name).write_text("other" if folder == "c" else "same")
    a, b, c, d = (stage.digest(tmp_path / name) for name in "abcd")
    assert a == b and len({a, c, d}) == 3
    assert stage.digest(tmp_path / "a" / "deep" / "x") == stage.digest(tmp_path / "b" / "deep" / "x")


# From here on the toy stage runs in a process of its own, as both engines run the real ones.


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "raw").write_text("new")
    (tmp_path / "params.yaml").write_text("evaluate: {do: write, text: a}\n")
    return tmp_path


OPTIONS = ["--raw", "raw", "--samples", "out/samples", "--metrics", "out/metrics.json", "--checkpoints", "check"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
RUNNING = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """A test that fails leaves no process behind."""
    yield
    while RUNNING:
        process = RUNNING.pop()
        process.kill()
        process.wait()
        process.stderr.close()


def start(toy, *arguments, do="write", text="a"):
    command = [sys.executable, "toy.py", *(arguments or OPTIONS)]
    if not arguments:
        command += ["--overrides", json.dumps({"do": do, "text": text})]
    RUNNING.append(foreground.started(command, cwd=toy, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True))
    return RUNNING[-1]


def finish(process):
    error = process.communicate(timeout=30)[1]
    return process.returncode, error


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_from_the_command_line_leaves_with_0(toy):
    status, log = finish(start(toy))
    assert status == 0 and "evaluate: miou 0.5" in log
    assert names(toy / "out") == ["metrics.json", "samples"]
    assert not (toy / "check").exists()


def test_bad_input_leaves_with_2_and_says_what_without_a_traceback(toy):
    assert finish(start(toy, do="refuse")) == (2, "error: raw: is 3; write 4\n")
    assert not names(toy / "out") and (toy / "check").is_dir()
    (toy / "raw").unlink()
    status, log = finish(start(toy))
    assert (status, log) == (2, "error: raw: no such file or folder for --raw; run the stage that makes it\n")
    (toy / "params.yaml").unlink()
    assert finish(start(toy)) == (2, "error: params.yaml: No such file or directory\n")


def test_a_missing_option_is_named(toy):
    status, log = finish(start(toy, "--raw", "raw", "--metrics", "m"))
    assert status == 2 and "--samples, --checkpoints missing: say where to read and write" in log


def test_a_bug_is_not_hidden(toy):
    status, log = finish(start(toy, do="crash"))
    assert status == 1 and "Traceback" in log and "RuntimeError: a bug" in log
    assert not names(toy / "out")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_but_its_checkpoints(toy, sent, status):
    process = start(toy, do="wait")
    until((toy / "begun").exists)
    process.send_signal(sent)
    found, log = finish(process)
    assert found == status and "Traceback" not in log
    assert not names(toy / "out")
    assert names(toy / "check") == ["last"]


def test_a_run_after_a_killed_one_gives_what_it_would_have_given(toy):
    process = start(toy, do="wait")
    until((toy / "begun").exists)
    process.kill()
    finish(process)
    assert not (toy / "out" / "samples").exists()
    assert (toy / "out" / ".partial.samples" / "one").exists()
    assert finish(start(toy))[0] == 0
    assert names(toy / "out") == ["metrics.json", "samples"]
    assert (toy / "out" / "samples" / "one").read_text() == "newa"


def test_of_two_runs_for_one_output_the_second_waits_for_the_first(toy):
    first = start(toy, do="wait", text="a")
    until((toy / "begun").exists)
    second = start(toy, text="b")
    assert "out/samples is being written by another run; waiting for it to end" in second.stderr.readline()
    time.sleep(0.1)
    assert second.poll() is None and not (toy / "out" / "samples").exists()
    (toy / "go").touch()
    assert finish(first)[0] == 0
    assert finish(second)[0] == 0
    assert (toy / "out" / "samples" / "one").read_text() == "newb"
    assert names(toy / "out") == ["metrics.json", "samples"]


def test_many_runs_for_one_output_all_end_and_leave_one(toy):
    runs = [start(toy, text=letter) for letter in "abcd"]
    assert [finish(run)[0] for run in runs] == [0] * 4
    texts = {(toy / "out" / "samples" / name).read_text().removeprefix("new") for name in ("one", "two")}
    assert len(texts) == 1
    assert names(toy / "out") == ["metrics.json", "samples"]


def test_a_full_disk_is_told_as_one(toy):
    (toy / "out").mkdir()
    run = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*run, 'mount -t tmpfs none "$1"', "sh", toy / "out"], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    mount = 'mount -t tmpfs -o size=1m none out && "$@"; status=$?; ls -A out; exit $status'
    command = [*run, mount, "sh", sys.executable, "toy.py", *OPTIONS, "--overrides", '{"do": "fill"}']
    done = subprocess.run(command, cwd=toy, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.endswith("the disk is full; free some space and run the stage again\n")


def executor_input(toy, uri=str, **parameters):
    """What Kubeflow Pipelines hands over, by hand."""

    def artifact(name, place):
        return {"artifacts": [{"name": f"run/{name}", "uri": uri(place), "metadata": {}}]}

    return {
        "inputs": {
            "parameterValues": {"params": '{"do": "write", "text": "a"}', "checkpoints": str(toy / "check")},
            "artifacts": {"raw": artifact("raw", toy / "raw")},
        },
        "outputs": {
            "artifacts": {
                "samples": artifact("samples", toy / "kfp" / "samples"),
                "metrics": artifact("metrics", toy / "kfp" / "metrics"),
            },
            "parameters": parameters,
            "outputFile": str(toy / "kfp" / "meta" / "executor_output.json"),
        },
    }


def strict(text):
    """JSON as KFP's launcher reads it, which knows no NaN."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_kubeflow_is_told_of_artifacts_metrics_and_parameters(toy):
    given = executor_input(toy, passed={"outputFile": str(toy / "kfp" / "passed")})
    status, log = finish(start(toy, "--executor-input", json.dumps(given)))
    assert status == 0, log
    told = strict((toy / "kfp" / "meta" / "executor_output.json").read_text())
    assert told["parameterValues"] == {"passed": True}
    samples, metrics = (told["artifacts"][name]["artifacts"] for name in ("samples", "metrics"))
    assert samples == [{"name": "run/samples", "uri": str(toy / "kfp" / "samples"), "metadata": {}}]
    assert metrics[0]["metadata"] == {"miou": 0.5, "passed": True, "images": 3, "name": "toy"}
    assert names(toy / "kfp") == ["meta", "metrics", "samples"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"inputs": {"parameterValues": {}}}'])
def test_an_executor_input_of_another_kind_is_refused(toy, text):
    status, log = finish(start(toy, "--executor-input", text))
    assert status == 2 and log.startswith("error: --executor-input: "), log


def test_an_unknown_store_is_refused_by_its_address(toy):
    given = executor_input(toy, lambda place: f"ftp://host{place}")
    status, log = finish(start(toy, "--executor-input", json.dumps(given)))
    assert status == 2 and log.startswith(f"error: artifact URI ftp://host{toy}/raw: the schemes are gs, s3, minio")


PARTS = '''
"""A stage with a part for one of several machines."""
from components import stage
from components.stage import Input, Number, Output, Report, Shared
from inverseform.settings import Settings


class ToyParams(Settings):
    text: str


def evaluate(params: ToyParams, *, raw: Input, samples: Output) -> Report:
    """Copy."""
    samples.write_text(params.text + (raw / "one").read_text())
    return {}


def part(params: ToyParams, *, raw: Input, shares: Shared, part: Number = None, of: Number = None) -> Report:
    """A share of it."""
    shares.mkdir(parents=True, exist_ok=True)
    (shares / f"{part} of {of}").write_text(params.text)
    return {}


if __name__ == "__main__":
    stage.main(evaluate, part)
'''


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "toy.py").write_text(PARTS)
    (tmp_path / "params.yaml").write_text("evaluate: {text: a}")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one").write_text("b")

    def call(*words: str):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "toy.py", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return call


def test_a_part_takes_numbers_and_shares_a_folder_which_stays(parts, tmp_path):
    for number in "01":
        # As two words, and as one.
        words = ("--part", number) if number == "0" else (f"--part={number}",)
        done = parts(*words, "--of", "2", "--raw", "raw", "--shares", "shares")
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "shares").iterdir()) == ["0 of 2", "1 of 2"]
    assert not list(tmp_path.glob(".lock*"))
    assert parts("--part", "one", "--raw", "raw", "--shares", "shares").returncode == 2


def test_kubeflow_chooses_a_part_by_a_word_and_hands_its_numbers_over(parts, tmp_path):
    given = {
        "inputs": {
            "parameterValues": {"params": '{"text": "a"}', "shares": str(tmp_path / "all"), "part": 1.0, "of": 2},
            "artifacts": {"raw": {"artifacts": [{"name": "raw", "uri": str(tmp_path / "raw")}]}},
        },
        "outputs": {"outputFile": str(tmp_path / "told.json")},
    }
    done = parts("--part", "--executor-input", json.dumps(given))
    assert done.returncode == 0, done.stderr
    # The folder of the stage, not of its part, which the stage itself finds again.
    (place,) = (tmp_path / "all" / "evaluate").iterdir()
    assert [path.name for path in place.iterdir()] == ["1 of 2"]
    assert json.loads((tmp_path / "told.json").read_text()) == {"parameterValues": {}, "artifacts": {}}
    del given["inputs"]["parameterValues"]["of"]
    done = parts("--part", "--executor-input", json.dumps(given))
    assert done.returncode == 2 and "(KeyError('of'))" in done.stderr


def test_an_input_may_be_a_url_and_an_output_may_not(parts, tmp_path):
    done = parts("--raw", f"file://{tmp_path}/raw", "--samples", "out")
    assert done.returncode == 0 and (tmp_path / "out").read_text() == "ab", done.stderr
    done = parts("--raw", "raw", "--samples", "s3://bucket/out")
    assert done.returncode == 2 and "error: s3://bucket/out: a stage writes to local paths alone" in done.stderr
    done = parts("--raw", "s3://someone:secret@bucket/raw", "--samples", "out")
    assert done.returncode == 2 and "which logs would keep" in done.stderr and "secret" not in done.stderr
