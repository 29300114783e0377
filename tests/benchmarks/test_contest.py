"""The contest: messages to and from systems, and the reasons of those that are absent or fail."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contest import System, chosen, compete, foreign
from contestants.generate import read_label, up_to_end
from contestants.llama_cpp import common_start
from contestants.protocol import processor_seconds, see_one_gpu
from contestants.trainer import example
from material import evenly_over_lengths
from speed_tables import described_ceilings, rates

FAKE = """
import os, sys
from contestants.protocol import NotMeasured, Work, serve

class Fake(Work):
    packages = ("pytest", "no-such-package")
    def __init__(self, job):
        if job.get("refuse"):
            raise NotMeasured("no such precision")
        if job.get("fail"):
            raise ValueError("the weights are damaged\\nsecond line")
        self.job, self.prepared = job, 0
        if job.get("spin"):
            import subprocess, threading
            threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
    def prepare(self):
        self.prepared += 1
    def run(self):
        print("noise of a library")
        if self.job.get("die_in") == self.prepared:
            sys.stderr.write("out of luck\\n")
            sys.stderr.flush()
            os._exit(3)
        if self.job.get("hang_in") == self.prepared:
            import time
            time.sleep(60)
        if self.job.get("sleep"):
            import time
            time.sleep(self.job["sleep"])
        return {"labels": self.job["labels"], "threads": os.environ["OMP_NUM_THREADS"]}
    def finish(self):
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        return {"prepared": self.prepared, "device": self.job["device"], "seen": seen}

if __name__ == "__main__":
    serve(Fake)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes systems which run the script above."""
    script = tmp_path / "fake_system.py"
    script.write_text(FAKE)
    # An interpreter runs a system as a module; this one runs the script above.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    python.chmod(0o755)

    def make(name: str = "fake", **job: object) -> System:
        return System(name, "fake_system", {"labels": ["1", "0"], **job}, "nothing", python=str(python))

    return make


def run(*systems: System, rounds: int = 2, timeout_s: float = 60) -> None:
    compete(systems, {"device": "cpu"}, rounds=rounds, threads=1, timeout_s=timeout_s)


def test_a_system_answers_each_round_and_printed_lines_are_ignored(fake):
    system = fake()
    run(system)
    assert system.is_measured
    assert [each["labels"] for each in system.rounds] == [["1", "0"]] * 2
    assert [each["prepared"] for each in system.rounds] == [1, 2]
    assert system.rounds[0]["threads"] == "1"
    assert system.ready["versions"] == {"pytest": pytest.__version__}
    assert system.peak_bytes > 1_000_000
    assert system.rates(2)["low"] <= system.rates(2)["median"] <= system.rates(2)["high"]


@pytest.mark.parametrize(
    ("device", "visible", "called", "seen"),
    [
        ("cpu", None, "cpu", None),
        ("cpu", "0,1", "cpu", "0,1"),
        ("cuda", None, "cuda", "0"),
        ("cuda", "3,2", "cuda", "3"),
        ("cuda:1", None, "cuda", "1"),
        ("cuda:1", "3,2", "cuda", "2"),
        ("cuda:1", "GPU-5c0e,GPU-77ab", "cuda", "GPU-77ab"),
    ],
)
def test_a_system_sees_one_gpu(device, visible, called, seen, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")  # so that monkeypatch restores it
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert see_one_gpu(device) == called
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen


def test_a_system_sees_one_gpu_before_it_loads(fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    system = fake()
    compete([system], {"device": "cuda:1"}, rounds=1, threads=1, timeout_s=60)
    assert (system.rounds[0]["device"], system.rounds[0]["seen"]) == ("cuda", "2")


def test_systems_take_turns(fake, capsys: pytest.CaptureFixture[str]):
    run(fake("A"), fake("B"))
    lines = [line.rsplit(maxsplit=2)[0] for line in capsys.readouterr().err.splitlines()]
    assert lines[2:] == ["round 1 of 2: A", "round 1 of 2: B", "round 2 of 2: A", "round 2 of 2: B"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_system_that_spins_is_stopped_while_others_run(fake):
    spinning, other = fake("spinning", spin=True), fake("other", sleep=0.3)
    run(spinning, other)
    assert [len(each.rounds) for each in (spinning, other)] == [2, 2]
    assert spinning.worked_while_waiting_s < 0.15  # of two cores for 0.3 s and the loading of the other


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a process with its parent")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_systems_that_wait_end_with_the_benchmark(fake, tmp_path, sent):
    first, second = fake("waits"), fake("works", hang_in=1)
    script = (
        "import sys\nfrom contest import System, compete\n"
        f"compete([System('waits', 'fake_system', {first.job}, '', python={first.python!r}), "
        f"System('works', 'fake_system', {second.job}, '', python={second.python!r})], "
        "{'device': 'cpu'}, rounds=1, threads=1, timeout_s=60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    benchmark = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    with benchmark:
        assert benchmark.stderr is not None
        while not benchmark.stderr.readline().startswith("round 1 of 1: waits"):
            assert benchmark.poll() is None
        children = [
            int(each) for each in Path(f"/proc/{benchmark.pid}/task/{benchmark.pid}/children").read_text().split()
        ]
        assert len(children) == 2
        benchmark.send_signal(sent)
    deadline = time.monotonic() + 20
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_seconds_of_a_process_are_its_own():
    begun = processor_seconds(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert processor_seconds(os.getpid()) - begun == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ({"refuse": True}, "no such precision"),
        ({"fail": True}, "ValueError: the weights are damaged"),
        ({"die_in": 2}, "ended with exit code 3: out of luck"),
    ],
)
def test_a_system_that_fails_is_not_measured_and_the_others_continue(fake, job, reason):
    failing, other = fake("failing", **job), fake("other")
    run(failing, other)
    assert not failing.is_measured
    assert failing.reason == reason
    assert len(other.rounds) == 2


def test_a_system_that_hangs_is_stopped(fake):
    hanging, other = fake("hanging", hang_in=1), fake("other")
    run(hanging, other, rounds=1, timeout_s=4)
    assert hanging.reason == "no answer within 4 s"
    assert len(other.rounds) == 1


def test_a_missing_tool_is_reported_with_the_option_that_adds_it():
    known, work = {"vllm": "contestants.vllm", "other": "contestants.other"}, {"vllm": "", "other": ""}
    absent, wrong = foreign(["other=/no/such/python"], known, work)
    assert absent.reason == "give the interpreter of an environment that has it: --contestant vllm=PYTHON"
    assert wrong.reason == "/no/such/python is not an interpreter"
    (found,) = foreign([f"vllm={sys.executable}"], {"vllm": "contestants.vllm"}, work)
    assert found.reason is None
    assert found.python == sys.executable


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("vlm=python", "error: --contestant vlm: there is no such contestant. There are: vllm."),
        ("vllm", "error: --contestant vllm: name its interpreter: --contestant vllm=PYTHON."),
    ],
)
def test_an_unknown_tool_is_an_error(option, message):
    with pytest.raises(SystemExit) as stopped:
        foreign([option], {"vllm": "contestants.vllm"}, {"vllm": ""})
    assert stopped.value.code == message


def test_the_option_only_leaves_others_out_and_checks_names(fake):
    kept, left, needed = chosen([fake("a"), fake("b"), fake("c")], ["a"], always=["c"])
    assert (kept.reason, left.reason, needed.reason) == (None, "left out by --only", None)
    with pytest.raises(SystemExit) as stopped:
        chosen([fake("a"), fake("b")], ["d"])
    assert stopped.value.code == "error: --only d: there is no such contestant. There are: a, b."


def test_rows_are_drawn_evenly_over_lengths_and_keep_their_order():
    lengths = [50, 10, 40, 20, 30, 60]
    assert evenly_over_lengths(lengths, 3) == [2, 3, 5]  # 20, 40, 60
    assert evenly_over_lengths(lengths, None) == evenly_over_lengths(lengths, 9) == [0, 1, 2, 3, 4, 5]


def test_generated_tokens_are_read_as_the_longest_label_at_their_start():
    labels = {"1": [7], "12": [7, 8], "0": [6]}
    assert read_label([7, 8, 2], labels) == "12"
    assert read_label([7, 2, 2], labels) == "1"
    assert read_label([9, 7], labels) is None
    assert up_to_end([4, 5, 2, 0, 0], {2}) == [4, 5, 2]
    assert up_to_end([4, 5], {2}) == [4, 5]


def test_the_common_beginning_of_two_prompts():
    assert common_start([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_start([1, 2], [1, 2, 3]) == common_start([1, 2, 3], [1, 2]) == 2
    assert common_start([], [1]) == common_start([2], [1]) == 0


def test_targets_of_fine_tuning():
    row = {"prompt": [1, 2], "answer": [3, 4]}
    assert example(row, every_position=True) == {"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}
    assert example(row, every_position=False) == {"input_ids": [1, 2, 3, 4], "labels": [-100, -100, 3, 4]}


def test_formats_of_numbers():
    assert rates({"median": 1.2345, "low": 1.0, "high": 2.0}) == "1.23 (1-2)"
    assert described_ceilings({"float32": 5e10, "int8": "not measured, no such operator"}) == (
        "float32 50, int8: not measured, no such operator"
    )
