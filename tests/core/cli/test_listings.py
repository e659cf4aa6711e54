"""`microbatch backends`, `policies`, `plugins` and `config`, as people and programs read them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import microbatch
from microbatch.cli.app import main
from microbatch.loading.listing import Listing
from microbatch.options.fields import FIELDS

LISTINGS = ("backends", "policies", "plugins")
KEYS = [field.name for field in dataclasses.fields(Listing)]
PLUGIN = """
from microbatch import BackendInfo, hookimpl

def probe():
    return "no device node in the rack"

@hookimpl
def microbatch_register_backends():
    names = {"name": "npu", "load": "acme:Npu", "install": "pip install acme[npu]"}
    return [BackendInfo(**names, probe=probe, summary="boxes")]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without options, and an environment without options."""
    for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", LISTINGS)
def test_json_has_stable_keys_and_says_what_the_function_says(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert lines == [dataclasses.asdict(line) for line in getattr(microbatch, command)()]
    assert all(list(line) == KEYS for line in lines)
    assert any(line["distribution"] == "microbatch" and line["builtin"] for line in lines)


@pytest.mark.parametrize("command", LISTINGS)
def test_a_table_has_a_line_for_each(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == [
        "name",
        *(line.name for line in getattr(microbatch, command)()),
    ]


def test_a_backend_that_cannot_run_says_why_and_what_to_do(place: Path) -> None:
    """In a process of its own, with distributions on the import path and output in a pipe."""
    installed(place, "acme", "0.3", PLUGIN)
    installed(place, "broken", "2.0", "import a_module_that_is_not_there")
    environment = {**os.environ, "PYTHONPATH": str(place), "COLUMNS": "20"}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "microbatch", command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("backends")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("npu")]
    assert " ".join(row.split()) == "npu no acme 0.3 0 boxes no device node in the rack pip install acme[npu]"
    done = run("plugins")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("broken")]
    assert row.split()[:4] == ["broken", "no", "broken", "2.0"]
    assert "ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in row


def installed(site: Path, name: str, version: str, source: str) -> None:
    (site / f"{name}_plugin.py").write_text(source)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[microbatch]\n{name} = {name}_plugin\n")


def test_config_shows_each_value_and_its_source(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "microbatch.toml").write_text('\nmemory_limit = "2048MiB"')
    monkeypatch.setenv("MICROBATCH_ENABLE_OVERLAP", "0")
    assert main(["config"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == ["option", *FIELDS]
    assert rows["memory_limit"].split() == ["2GiB", "microbatch.toml:2"]
    assert rows["enable_overlap"].split() == ["false", "environment", "MICROBATCH_ENABLE_OVERLAP"]
    assert rows["history"].split() == ["none", "default"]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", "auto default"),
        ('schedule = "pingpong"', "auto default; here fixed"),
        ("num_ubatches = 3\nmax_tokens_per_ubatch = 9", "auto default; here fixed,tokens"),
        ('schedule = "pingpong"\npolicy = "auto"', "auto microbatch.toml:2"),
    ],
)
def test_config_shows_the_policy_that_other_options_choose(
    place: Path, capsys: pytest.CaptureFixture[str], text: str, policy: str
) -> None:
    (place / "microbatch.toml").write_text(text)
    assert main(["config"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert " ".join(rows["policy"].split()) == policy


def test_config_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MICROBATCH_NUM_UBATCHES", "8")
    assert main(["config", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values) == list(FIELDS)
    assert values["num_ubatches"] == {"value": 8, "source": "environment MICROBATCH_NUM_UBATCHES"}
    assert values["memory_limit"] == {"value": None, "source": "default"}


def test_config_shows_what_a_wrapper_would_refuse(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "microbatch.toml").write_text('policy = "fixedd"')
    monkeypatch.setenv("MICROBATCH_BACKEND", "cpuu")
    monkeypatch.setenv("MICROBATCH_HISTORY", str(place / "missing" / "h.db"))
    assert main(["config"]) == 2
    said = capsys.readouterr()
    assert dict(line.split(maxsplit=1) for line in said.out.splitlines())["backend"].startswith("cpuu")
    backend, policy, history = said.err.splitlines()
    assert backend.startswith("error: environment MICROBATCH_BACKEND: no backend is called 'cpuu';")
    assert "did you mean 'cpu'" in backend
    assert policy.startswith("error: microbatch.toml:1: ") and "did you mean 'fixed'" in policy
    assert history.startswith("error: environment MICROBATCH_HISTORY: ") and "is in no folder" in history


def test_config_as_json_has_the_problem_of_a_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_POLICY", "fixed,nope")
    assert main(["config", "--json"]) == 2
    values = json.loads(capsys.readouterr().out)
    assert {name for name, value in values.items() if "problem" in value} == {"policy"}
    assert "'nope'" in values["policy"]["problem"]


def test_config_reads_a_history_that_is_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "h.db").write_bytes(b"this is no database, and longer than its first hundred bytes" * 9)
    monkeypatch.setenv("MICROBATCH_HISTORY", str(place / "h.db"))
    assert main(["config"]) == 2
    assert "h.db" in capsys.readouterr().err
