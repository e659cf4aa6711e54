"""Host memory from drawn `/proc` and `/sys` trees: the tightest bound rules, and no gap breaks a reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.host.forks import FORKS
from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.host.memory import HostMemory

MIB = 1 << 20
V2 = "36 25 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "37 25 0:32 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"


class Tree:
    """A root with the files a reading looks at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write(
            "proc/meminfo", "MemTotal: 1048576 kB\nMemFree: 100 kB\nMemAvailable: 786432 kB\nHugePages: 0\n"
        )
        self.process(rss=64, peak=80)

    def write(self, path: str, text: object) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text}")

    def process(self, *, rss: int, peak: int, size: int = 200) -> None:
        lines = {"VmPeak": 300, "VmSize": size, "VmHWM": peak, "VmRSS": rss, "VmData": 50}
        self.write("proc/self/status", "".join(f"{name}:\t{mib * 1024} kB\n" for name, mib in lines.items()))

    def group(self, path: str, **files: object) -> None:
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name.replace('__', '.')}", text)

    def memory(self, limits: dict[str, int] | None = None) -> HostMemory:
        return HostMemory(self.root, fresh=0, limits=lambda: limits or {})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def v2(tree: Tree, path: str) -> None:
    tree.write("proc/self/cgroup", f"0::{path}\n")
    tree.write("proc/self/mountinfo", "24 1 8:1 / / rw - ext4 /dev/sda rw\n" + V2)


def test_without_groups_the_host_bounds(tree: Tree) -> None:
    reading = tree.memory().read()
    assert reading.capacity == 1024 * MIB
    assert reading.usable == 768 * MIB
    assert (reading.in_use, reading.peak) == (64 * MIB, 80 * MIB)
    assert reading.pressure == 0.25


def test_a_group_bounds_and_its_droppable_cache_is_free(tree: Tree) -> None:
    v2(tree, "/app")
    tree.group(
        "app", memory__max=400 * MIB, memory__current=300 * MIB, memory__stat=f"inactive_file {200 * MIB}\n"
    )
    reading = tree.memory().read()
    assert (reading.capacity, reading.usable, reading.pressure) == (400 * MIB, 300 * MIB, 0.25)


def test_a_parents_limit_counts_as_much_as_the_own(tree: Tree) -> None:
    v2(tree, "/outer/inner")
    tree.group("outer/inner", memory__max="max", memory__high="max", memory__current=10 * MIB)
    tree.group("outer", memory__max=500 * MIB, memory__high=200 * MIB, memory__current=150 * MIB)
    reading = tree.memory().read()
    assert (reading.capacity, reading.usable) == (200 * MIB, 50 * MIB)
    assert reading.pressure == 0.75


def test_version_1_is_read_and_its_no_limit_is_none(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "9:cpu:/\n4:memory:/job/one\n0::/\n")
    tree.write("proc/self/mountinfo", V1)
    tree.group("memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=900 * MIB)
    tree.group(
        "memory/job/one",
        memory__limit_in_bytes=256 * MIB,
        memory__usage_in_bytes=128 * MIB,
        memory__stat=f"inactive_file 5\ntotal_inactive_file {64 * MIB}\n",
    )
    reading = tree.memory().read()
    assert (reading.capacity, reading.usable) == (256 * MIB, 192 * MIB)


def test_a_container_that_sees_its_group_as_the_root_is_read(tree: Tree) -> None:
    tree.write("proc/self/cgroup", "0::/docker/abc\n")
    tree.write("proc/self/mountinfo", V2.replace(" / /sys", " /docker/abc /sys"))
    tree.group(".", memory__max=100 * MIB, memory__current=60 * MIB)
    assert tree.memory().read().usable == 40 * MIB


@pytest.mark.parametrize("path", ["/../other", "/not/there"])
def test_a_path_outside_the_mount_reads_what_is_mounted(tree: Tree, path: str) -> None:
    v2(tree, path)
    tree.group(".", memory__max=100 * MIB, memory__current=60 * MIB)
    assert tree.memory().read().capacity == 100 * MIB


def test_address_space_limits_bound_by_what_they_count(tree: Tree) -> None:
    reading = tree.memory({"RLIMIT_AS": 250 * MIB, "RLIMIT_DATA": 90 * MIB}).read()
    assert (reading.capacity, reading.usable) == (90 * MIB, 40 * MIB)
    assert reading.pressure == 0.8


@pytest.mark.parametrize(
    ("avg10", "pressure"), [("0.00", 0.25), ("10.00", 0.85), ("90.00", 1.0), ("x", 0.25)]
)
def test_stalls_raise_the_pressure(tree: Tree, avg10: str, pressure: float) -> None:
    tree.write("proc/pressure/memory", f"some avg10={avg10} avg60=0.00 total=1\nfull avg10=99.0 total=1\n")
    assert tree.memory().read().pressure == pytest.approx(pressure)


def test_passing_the_high_mark_raises_the_pressure_while_it_happens(tree: Tree) -> None:
    v2(tree, "/app")
    tree.group("app", memory__high=400 * MIB, memory__current=40 * MIB, memory__events="low 0\nhigh 7\n")
    memory = tree.memory()
    assert memory.read().pressure == 0.25
    tree.group("app", memory__events="low 0\nhigh 8\n")
    assert memory.read().pressure == 0.85
    assert memory.read().pressure == 0.25


def test_the_peak_never_falls(tree: Tree) -> None:
    memory = tree.memory()
    tree.process(rss=90, peak=95)
    assert memory.read().peak == 95 * MIB
    tree.process(rss=50, peak=50)  # somebody reset the kernel's peak
    assert memory.read().peak == 95 * MIB


def test_a_reading_is_kept_for_ten_milliseconds(tree: Tree) -> None:
    now = [5.0]
    memory = HostMemory(tree.root, clock=lambda: now[0], limits=dict)
    first = memory.read()
    tree.process(rss=70, peak=80)
    now[0] += 0.009
    assert memory.read() is first
    now[0] += 0.002
    assert memory.read().in_use == 70 * MIB


def test_an_empty_root_gives_a_reading_all_the_same(tmp_path: Path) -> None:
    reading = HostMemory(tmp_path, limits=dict).read()
    assert reading.capacity > 0 and 0 <= reading.usable <= reading.capacity


numbers = st.integers(0, 1 << 42) | st.just("max") | st.just("") | st.just(9223372036854771712)


@given(
    groups=st.lists(st.tuples(numbers, numbers, st.integers(0, 1 << 42)), max_size=3),
    rss=st.integers(0, 2000),
)
def test_a_reading_is_consistent_whatever_the_files_say(
    tmp_path_factory: pytest.TempPathFactory, groups: list[tuple[object, object, int]], rss: int
) -> None:
    tree = Tree(tmp_path_factory.mktemp("root"))
    tree.process(rss=rss, peak=1000)
    path = ""
    for limit, high, used in groups:
        path += "/g"
        tree.group(path, memory__max=limit, memory__high=high, memory__current=used)
    v2(tree, path or "/")
    reading = tree.memory().read()
    limits = [value for limit, high, _ in groups for value in (limit, high) if isinstance(value, int)]
    assert reading.capacity == min([1024 * MIB, *(value for value in limits if 0 < value < 1 << 60)])
    assert 0 <= reading.usable <= reading.capacity
    assert 0 <= reading.in_use <= reading.peak
    assert 0 <= reading.pressure <= 1


def test_this_process_can_be_read() -> None:
    reading = HostMemory().read()
    assert 0 < reading.in_use <= reading.peak and reading.in_use <= reading.capacity


def test_a_reading_that_took_long_is_kept_longer(tree: Tree) -> None:
    tree.process(rss=90, peak=95)
    now = [0.0]

    def clock() -> float:
        now[0] += 0.001  # a reading asks twice: it took 1 ms
        return now[0]

    memory = HostMemory(tree.root, fresh=0.01, clock=clock)
    first = memory.read()
    now[0] += 0.05
    assert memory.read() is first
    now[0] += 0.2
    assert memory.read() is not first


def test_a_forked_child_takes_a_reading_of_its_own(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its parent's it knows neither the last one nor the peak."""
    memory = HostMemory(tree.root, clock=lambda: 5.0, limits=dict)
    backend = CpuBackend(memory)
    first = backend.memory()
    assert backend.memory() is memory.read() is first
    monkeypatch.setattr(FORKS, "count", FORKS.count + 1)
    tree.process(rss=50, peak=50)
    assert (backend.memory().in_use, memory.read().peak) == (50 * MIB, 50 * MIB)
    assert backend.memory() is memory.read() is not first
