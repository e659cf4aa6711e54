"""Cores by affinity and by quota, from drawn trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.host.cgroups import control_groups
from microbatch.host.cores import usable_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
V2 = "36 25 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"


def write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_without_a_quota_it_is_the_affinity(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == CORES


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2)]
)
def test_a_quota_rounds_up(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/app\n")
    write(tmp_path, "proc/self/mountinfo", V2)
    write(tmp_path, "sys/fs/cgroup/app/cpu.max", quota)
    assert usable_cores(tmp_path) == min(CORES, cores)


@given(
    quotas=st.lists(st.sampled_from(["max 100000", "", "garbage", "100000 100000", "900000 100000", "0 0"]))
)
def test_it_is_at_least_one_and_at_most_the_tightest(
    tmp_path_factory: pytest.TempPathFactory, quotas: list[str]
) -> None:
    root, path = tmp_path_factory.mktemp("root"), ""
    for text in quotas:
        path += "/g"
        write(root, f"sys/fs/cgroup{path}/cpu.max", text)
    write(root, "proc/self/cgroup", f"0::{path or '/'}\n")
    write(root, "proc/self/mountinfo", V2)
    expected = 1 if "100000 100000" in quotas else min(CORES, 9) if "900000 100000" in quotas else CORES
    assert usable_cores(root) == expected


@pytest.mark.parametrize(("quota", "expected"), [("100000", 1), ("-1", CORES)])
def test_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    write(tmp_path, "proc/self/cgroup", "3:cpu,cpuacct:/job\n")
    write(tmp_path, "proc/self/mountinfo", V1)
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert usable_cores(tmp_path) == expected


def test_groups_come_innermost_first_and_mount_points_may_have_blanks(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path, "proc/self/mountinfo", V2.replace("/sys/fs/cgroup", "/my\\040groups"))
    (tmp_path / "my groups/a/b").mkdir(parents=True)
    top = tmp_path / "my groups"
    assert control_groups("cpu", tmp_path) == [top / "a/b", top / "a", top]


def test_lines_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "garbage\n::\n0::/\n")
    write(tmp_path, "proc/self/mountinfo", "garbage\n - \n1 2 - cgroup2\n")
    assert control_groups("memory", tmp_path) == []
