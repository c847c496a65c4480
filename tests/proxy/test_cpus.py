"""`workers: auto` under cgroups of both versions, played with files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from understudy.proxy.cpus import usable

ALL = len(os.sched_getaffinity(0))


def group(root: Path, path: str, **files: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / path / name.replace("__", ".")).write_text(text + "\n")


def member(root: Path, *lines: str) -> Path:
    path = root / "membership"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", ALL),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", min(2, ALL)),
        ("9900000 100000", ALL),
    ],
)
def test_version_2_quota(tmp_path: Path, quota: str, cpus: int) -> None:
    group(tmp_path, "pod", cpu__max=quota)
    assert usable(tmp_path, member(tmp_path, "0::/pod")) == cpus


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    group(tmp_path, "pod", cpu__max="100000 100000")
    group(tmp_path, "pod/container", cpu__max="max 100000")
    assert usable(tmp_path, member(tmp_path, "0::/pod/container")) == 1


def test_inside_a_container_only_the_root_is_visible(tmp_path: Path) -> None:
    group(tmp_path, ".", cpu__max="100000 100000")
    assert usable(tmp_path, member(tmp_path, "0::/kubepods/pod1/container")) == 1


def test_version_1_quota(tmp_path: Path) -> None:
    group(tmp_path, "cpu,cpuacct/pod", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert usable(tmp_path, member(tmp_path, "4:memory:/pod", "3:cpu,cpuacct:/pod")) == 1
    group(tmp_path, "cpu,cpuacct/pod", cpu__cfs_quota_us="-1")
    assert usable(tmp_path, member(tmp_path, "3:cpu,cpuacct:/pod")) == ALL


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert usable(tmp_path, tmp_path / "absent") == ALL
