"""Workers in network namespaces of their own, as on other machines, and a cable that is pulled."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bgknown.jobs import cluster_faults, waiting
from bgknown.jobs.cluster import use_cluster
from bgknown.jobs.parallel import in_processes
from tests.fuzz.dask_processes import DaskProcesses

pytestmark = pytest.mark.slow


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A bridge, and namespaces that are joined to it by a cable each."""

    def __init__(self):
        number = os.getpid()
        self.bridge, self._net = f"bgb{number}", f"10.{number % 200 + 20}.{number // 200 % 250}"
        self.host = f"{self._net}.1"
        self.namespaces = []

    def open(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.host}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    def add(self):
        """A namespace, and its address."""
        number = len(self.namespaces) + 1
        name, address = f"{self.bridge}n{number}", f"{self._net}.1{number}"
        ip("netns", "add", name)
        self.namespaces.append(name)
        ip("link", "add", self.name_cable(number), "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", self.name_cable(number), "master", self.bridge, "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        return name, address

    def name_cable(self, number):
        return f"bgv{os.getpid()}{number}"

    def close(self):
        for number, name in enumerate(self.namespaces, 1):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("link", "del", self.name_cable(number))
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", self.bridge)


@pytest.fixture
def network():
    if shutil.which("ip") is None:
        pytest.skip("the program ip is not there")
    made = Network()
    try:
        made.open()
        made.add()
        made.add()
    except subprocess.CalledProcessError as error:
        made.close()
        pytest.skip(f"no network namespaces: {error.stderr.decode().strip()}")
    yield made
    made.close()


def name_namespace():
    return str(Path("/proc/self/ns/net").readlink())


def wait_and_write(path):
    time.sleep(0.1)
    path.write_text(name_namespace())
    return name_namespace()


def test_workers_in_other_namespaces_share_the_work_and_one_that_is_cut_off_is_given_up(
    network, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(cluster_faults, "SILENT_S", 5.0)
    monkeypatch.setattr(cluster_faults, "GONE_S", 8.0)
    dask = DaskProcesses(tmp_path, host=network.host)
    try:
        for name, address in zip(network.namespaces, (f"{network.host}1", f"{network.host}2"), strict=True):
            dask.add_worker(host=address, before=("ip", "netns", "exec", name))
        paths = [tmp_path / f"{number}.txt" for number in range(60)]
        with use_cluster(dask.address) as cluster:
            cluster.client.wait_for_workers(2)
            found, whole = [], True
            for namespace in in_processes(wait_and_write, paths, jobs=2, title="files", unit="file"):
                found.append(namespace)
                if len(found) >= 10 and len(set(found)) == 2 and whole:
                    whole = False
                    ip("link", "set", network.name_cable(1), "down")
        assert len(found) == 60
        assert not whole
        assert name_namespace() not in found
    finally:
        dask.close()
    assert "has not answered for" in caplog.text
    assert f"the worker tcp://{network.host}1" in caplog.text
    assert "is given up" in caplog.text
