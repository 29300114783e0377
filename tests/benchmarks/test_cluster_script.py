"""The network of the cluster benchmark: three machines on one, a cable that can be pulled, and what a kill leaves."""

import subprocess
import sys

import cluster
import pytest

pytestmark = pytest.mark.once

LISTENS = """
import socket, sys
server = socket.create_server((sys.argv[1], 5000))
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""
CONNECTS = "import socket, sys; socket.create_connection((sys.argv[1], 5000), timeout=float(sys.argv[2])).close()"


@pytest.fixture
def network():
    if reason := cluster.not_allowed():
        pytest.skip(reason)
    try:
        with cluster.network():
            yield
    except SystemExit as other:
        pytest.skip(str(other))
    assert names() == set()


def names():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()} & set(cluster.NAMES)


def inside(node, program, *arguments):
    return ["ip", "netns", "exec", cluster.space(node), sys.executable, "-S", "-c", program, *arguments]


def listening(node):
    process = subprocess.Popen(inside(node, LISTENS, cluster.address(node)), stdout=subprocess.PIPE, text=True)
    with process.stdout as printed:
        assert printed.readline() == "listening\n"
    return process


def reaches(node, other, timeout_s=5):
    command = inside(node, CONNECTS, cluster.address(other), str(timeout_s))
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_nodes_reach_each_other_until_a_cable_is_pulled_or_a_node_is_lost(network):
    server = listening(1)
    assert reaches(2, 1)
    assert reaches(3, 1)
    cluster.pull_cable(1)
    assert not reaches(2, 1, timeout_s=0.3)
    cluster.plug_cable(1)
    assert reaches(2, 1)
    cluster.end_processes(cluster.space(1))
    assert server.wait(timeout=10) == -9
    assert not reaches(2, 1)


def test_what_a_killed_benchmark_has_left_is_removed(network):
    server = listening(2)
    cluster.remove_leftovers()
    assert names() == set()
    assert server.wait(timeout=10) == -9
    cluster.make_namespaces()  # for the end of the fixture, which removes them
    assert names() == set(cluster.NAMES)


def test_only_one_process_has_the_namespaces(network):
    with pytest.raises(SystemExit, match="another process measures a cluster on this machine"), cluster.network():
        pass
    assert names() == set(cluster.NAMES)
