"""A cluster on one machine: each node in a network namespace of its own, joined by a bridge.

It needs Ray, and root on Linux.

    python benchmarks/cluster.py                        all scenarios
    python benchmarks/cluster.py alone node-killed      some

    pt-1 (head, driver) ── pt-2 ── pt-3 ── pt-4 (joins late)        10.77.0.1 to 10.77.0.4

Each scenario fills in the same table with three workers while something happens, and compares the output byte for byte
with that of a single process without Ray. `training` compares two processes of torchrun on two nodes with two on one.
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

sys.path.insert(0, str(Path(__file__).parent))
from scale import EXAMPLES, tiny_run, write_papers

NODES = 4
SWITCH = "pt-switch"
NAMES = (SWITCH, *(f"pt-{node}" for node in range(1, NODES + 1)))
PORT = 6379
# The time that a scenario may take on a busy machine.
PATIENCE_S = 150
CUT_S = 10


def main() -> None:
    """Run what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[])
    parser.add_argument("--rows", type=int, default=800)
    arguments = parser.parse_args()
    if reason := not_allowed():
        print(f"skipped: {reason}")
        return
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="pt", dir="/tmp") as name, network():
        cluster = Cluster(Path(name), arguments.rows)
        print("| what happens | s | output |\n| --- | --- | --- |", flush=True)
        for scenario in arguments.scenarios or SCENARIOS:
            begun = time.monotonic()
            try:
                result = SCENARIOS[scenario](cluster)
            except (RuntimeError, subprocess.SubprocessError) as error:
                result = f"failed: {' '.join(str(error).split())[-400:]}"
            print(f"| {scenario} | {time.monotonic() - begun:.0f} | {result} |", flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    """End at a signal as at an error, so that namespaces and processes are removed."""
    sys.exit(128 + number)


def not_allowed() -> str:
    """Return why this machine cannot make network namespaces; "" if it can."""
    if shutil.which("ip") is None:
        return "there is no program ip (iproute2)"
    probe = f"pt-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"network namespaces are not allowed ({made.stderr.strip()})"
    remove(probe)
    return ""


def remove_leftovers() -> None:
    """Remove the namespaces with their processes, also those of an earlier run that was killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.splitlines()
    for name in set(NAMES) & {line.split()[0] for line in listed if line.strip()}:
        remove(name)


def ip(*words: str) -> None:
    """Run the program ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def network() -> Iterator[None]:
    """Make the namespaces, with a bridge in one more of them, and remove them at the end.

    Raises:
        SystemExit: If another process has them.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(Path(tempfile.gettempdir()) / "papertune-cluster.lock", timeout=0))
        except Timeout:
            raise SystemExit("another process measures a cluster on this machine") from None
        remove_leftovers()
        stack.callback(remove_leftovers)
        make_namespaces()
        yield


def make_namespaces() -> None:
    """Make a namespace for each node, with a cable to the bridge in one more."""
    for name in NAMES:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    ip("-n", SWITCH, "link", "add", "bridge", "type", "bridge")
    ip("-n", SWITCH, "link", "set", "bridge", "up")
    for node in range(1, NODES + 1):
        port = f"port{node}"
        ip("-n", SWITCH, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space(node))
        ip("-n", SWITCH, "link", "set", port, "master", "bridge", "up")
        ip("-n", space(node), "address", "add", f"{address(node)}/24", "dev", "eth0")
        ip("-n", space(node), "link", "set", "eth0", "up")


def pull_cable(node: int) -> None:
    """Cut a node off from the others."""
    ip("-n", SWITCH, "link", "set", f"port{node}", "down")


def plug_cable(node: int) -> None:
    """Connect a node again."""
    ip("-n", SWITCH, "link", "set", f"port{node}", "up")


def remove(name: str) -> None:
    """End the processes of a namespace, and remove it."""
    end_processes(name)
    ip("netns", "delete", name)


def end_processes(name: str) -> None:
    """Kill all processes of a namespace, as if its machine lost power."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), 9)


def space(node: int) -> str:
    """Return the namespace of a node."""
    return NAMES[node]


def address(node: int) -> str:
    """Return the address of a node."""
    return f"10.77.0.{node}"


class Cluster:
    """The nodes, and a run and a table that all of them see.

    Args:
        folder: For everything.
        rows: Rows of the table.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.run = tiny_run(folder)
        self.table = folder / "papers.parquet"
        write_papers(self.table, rows)
        self._expected: bytes | None = None
        self._ray = str(Path(sys.executable).with_name("ray"))
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Without the mode, a head asks for a token if its user happens to have one, and other nodes send none.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            # Other programs of this machine may take its memory.
            "RAY_memory_monitor_refresh_ms": "0",
        }

    @property
    def expected(self) -> bytes:
        """The output of one process without Ray."""
        if self._expected is None:
            output = self.folder / "expected.csv"
            command = [*self._predict(output), "--quiet"]
            subprocess.run(command, env=self.environment, check=True, capture_output=True)
            self._expected = output.read_bytes()
        return self._expected

    def start(self, node: int) -> None:
        """Start Ray on a node; the first one is the head. Its session has a folder of its own."""
        place = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder / 'ray'}"]
        place = place if node == 1 else [f"--address={address(1)}:{PORT}"]
        size = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000", "--disable-usage-stats"]
        self._inside(node, [self._ray, "start", *place, f"--node-ip-address={address(node)}", *size], check=True)

    def start_all(self) -> None:
        """Start the head and two nodes, and wait until the head has counted their cores."""
        for node in (1, 2, 3):
            self.start(node)
        time.sleep(5)

    def stop(self) -> None:
        """End all nodes."""
        for node in range(1, NODES + 1):
            end_processes(space(node))
        shutil.rmtree(self.folder / "ray", ignore_errors=True)

    def fill_in(self, name: str, happens: Callable[[subprocess.Popen[str]], None] | None = None) -> str:
        """Fill in the table with three workers, let something happen in the middle, and compare the output.

        Args:
            name: For the output.
            happens: Called when a fifth of the batches is in the journal.
        """
        output = self.folder / f"{name}.csv"
        assert self.expected
        try:
            self.start_all()
            running = self.drive(output)
            if happens is not None:
                self.wait_for_journal(output, running)
                happens(running)
            return self.compare(output, running)
        finally:
            self.stop()

    def drive(self, output: Path) -> subprocess.Popen[str]:
        """Start the command that fills in the table, on the head's node."""
        environment = {**self.environment, "RAY_ADDRESS": f"{address(1)}:{PORT}"}
        command = ["ip", "netns", "exec", space(1), *self._predict(output), "--workers", "3", "--quiet"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_for_journal(self, output: Path, running: subprocess.Popen[str]) -> None:
        """Wait until a fifth of the batches is in the journal."""
        journal = output.with_name(f"{output.name}.journal")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and running.poll() is None:
            if journal.exists():
                lines = journal.read_bytes().split(b"\n")
                total = int(lines[0].partition(b'"batches": ')[2].split(b",")[0] or 0)
                if total and sum(b'{"batch"' in line for line in lines) > total / 5:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"no batches are finished: {running.communicate(timeout=5)[0]}")

    def compare(self, output: Path, running: subprocess.Popen[str]) -> str:
        """Wait for the command, and say whether its output is that of a single process."""
        try:
            printed = running.communicate(timeout=PATIENCE_S)[0]
        except subprocess.TimeoutExpired:
            running.kill()
            return f"not finished after {PATIENCE_S} s"
        if running.returncode:
            return f"exit code {running.returncode}: {' '.join(printed.split())[-400:]}"
        return "equal" if output.read_bytes() == self.expected else "DIFFERENT"

    def _predict(self, output: Path) -> list[str]:
        files = ["predict", str(self.run), str(self.table), "-o", str(output)]
        return [sys.executable, "-m", "papertune", *files, "--precision", "fp32", "--probabilities"]

    def _inside(self, node: int, command: list[str], *, check: bool) -> None:
        words = ["ip", "netns", "exec", space(node), *command]
        done = subprocess.run(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}")


def alone(cluster: Cluster) -> str:
    """Nothing happens."""
    return cluster.fill_in("alone")


def node_killed(cluster: Cluster) -> str:
    """A node of a worker is lost and does not come back."""
    return cluster.fill_in("node-killed", lambda _: end_processes(space(3)))


def node_joins(cluster: Cluster) -> str:
    """A node of a worker is lost, and another one joins later."""

    def happens(_: subprocess.Popen[str]) -> None:
        end_processes(space(3))
        time.sleep(5)
        cluster.start(4)

    return cluster.fill_in("node-joins", happens)


def link_cut(cluster: Cluster) -> str:
    """The cable of the head's node is pulled for ten seconds."""

    def happens(_: subprocess.Popen[str]) -> None:
        pull_cable(1)
        time.sleep(CUT_S)
        plug_cable(1)

    return cluster.fill_in("link-cut", happens)


def driver_killed(cluster: Cluster) -> str:
    """The command is killed and started again; the nodes stay."""
    output = cluster.folder / "driver-killed.csv"
    assert cluster.expected
    try:
        cluster.start_all()
        running = cluster.drive(output)
        cluster.wait_for_journal(output, running)
        running.kill()
        running.wait()
        kept = output.with_name(f"{output.name}.journal").read_bytes().count(b'{"batch"')
        return f"{cluster.compare(output, cluster.drive(output))}, after {kept} batches of the first command"
    finally:
        cluster.stop()


def training(cluster: Cluster) -> str:
    """Train by torchrun with two processes on two nodes, and on one."""
    runs = {"one-node": [1], "two-nodes": [1, 2]}
    for name, nodes in runs.items():
        command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={len(nodes)}"]
        command += [f"--nproc-per-node={2 // len(nodes)}", "--rdzv-backend=c10d", f"--rdzv-endpoint={address(1)}:29500"]
        train = ["-m", "papertune", "train", str(EXAMPLES), "-r", str(cluster.run / "recipe.toml"), "--only", "label"]
        train += ["-o", str(cluster.folder / name), "--device", "cpu", "--quiet", "--set", "training.max_steps=6"]
        environment = {**cluster.environment, "GLOO_SOCKET_IFNAME": "eth0"}
        started = [
            subprocess.Popen(
                ["ip", "netns", "exec", space(node), *command, *_own_address(node), *train],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for node in nodes
        ]
        printed = [each.communicate(timeout=PATIENCE_S)[0] for each in started]
        if any(each.returncode for each in started):
            return f"{name}: {' '.join(' '.join(printed).split())[-400:]}"
    weights = [sorted((cluster.folder / name / "adapter").glob("*.safetensors")) for name in runs]
    same = [[file.read_bytes() for file in files] for files in weights]
    return "equal" if same[0] == same[1] and same[0] else "DIFFERENT"


def _own_address(node: int) -> list[str]:
    """Return what torchrun cannot find out by itself, as the name of this machine does not stand for a node."""
    return [f"--local-addr={address(node)}", f"--rdzv-conf=is_host={node == 1}"]


SCENARIOS: dict[str, Callable[[Cluster], str]] = {
    "alone": alone,
    "node-killed": node_killed,
    "node-joins": node_joins,
    "link-cut": link_cut,
    "driver-killed": driver_killed,
    "training": training,
}

if __name__ == "__main__":
    main()
