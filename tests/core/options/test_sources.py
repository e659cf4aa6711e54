"""Where options come from: the order of sources, and what each wrong value says and where it is."""

from __future__ import annotations

import contextlib
import contextvars
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ArgumentValueError, ConfigError, UnknownNameError
from microbatch.options.fields import FIELDS, UBatchConfig
from microbatch.options.sources import DEFAULTS, config, resolve
from microbatch.options.unknown_variables import variable


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without options, and an environment without options."""
    for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_sources_all_is_default() -> None:
    resolved = resolve()
    assert resolved.config == UBatchConfig()
    assert set(resolved.sources.values()) == {"default"}
    assert not any(resolved.explicit(name) for name in FIELDS)


def test_each_source_goes_before_the_next(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(**options: Any) -> None:
        resolved = resolve(**options)
        seen.append((resolved.config.num_ubatches, resolved.sources["num_ubatches"]))

    look()
    (place / "microbatch.toml").write_text("\n\nnum_ubatches = 3")
    look()
    monkeypatch.setenv("MICROBATCH_NUM_UBATCHES", "4")
    look()
    with config(num_ubatches=5):
        look()
        with config(num_ubatches=6):
            look()
            look(num_ubatches=7)
        look()
    look()
    assert seen == [
        (2, "default"),
        (3, "microbatch.toml:3"),
        (4, "environment MICROBATCH_NUM_UBATCHES"),
        (5, "config()"),
        (6, "config()"),
        (7, "argument"),
        (5, "config()"),
        (4, "environment MICROBATCH_NUM_UBATCHES"),
    ]


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "num_ubatches": st.integers(1, 9),
    "barrier_timeout": st.sampled_from([1.5, 30.0, None]),
    "enable_overlap": st.booleans(),
    "backend": st.sampled_from(["auto", "cpu", "npu"]),
    "memory_limit": st.sampled_from([None, 1024, 5 * 10**9]),
}
layer = st.fixed_dictionaries({}, optional=VALUES)


@contextlib.contextmanager
def surroundings(file: dict[str, Any], environment: dict[str, Any]) -> Iterator[None]:
    """A working directory with such a file, in such an environment."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(folder, ".git").mkdir()
        lines = [f"{name} = {_toml(value)}" for name, value in file.items()]
        Path(folder, "microbatch.toml").write_text("\n".join(lines))
        os.environ.update({variable(name): str(value) for name, value in environment.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '"none"' if value is None else repr(value)


@given(file=layer, environment=layer, outer=layer, inner=layer, explicit=layer, options=layer)
def test_resolution_is_a_chain_of_dictionaries(
    file: dict[str, Any],
    environment: dict[str, Any],
    outer: dict[str, Any],
    inner: dict[str, Any],
    explicit: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """The model: the strongest layer that has the field; of an explicit config, what differs from the
    defaults."""
    changed = {name: value for name, value in explicit.items() if value != DEFAULTS[name]}
    model = dict.fromkeys(FIELDS, "default") | dict.fromkeys(file, "microbatch.toml")
    model |= {name: f"environment {variable(name)}" for name in environment}
    model |= dict.fromkeys({**outer, **inner}, "config()") | dict.fromkeys({**changed, **options}, "argument")
    with surroundings(file, environment), config(**outer), config(**inner):
        resolved = resolve(UBatchConfig(**explicit), **options)
    merged = {**file, **environment, **outer, **inner, **changed, **options}
    assert resolved.config == UBatchConfig(**merged)
    assert {name: source.split(":")[0] for name, source in resolved.sources.items()} == model
    assert all(resolved.explicit(name) is (source != "default") for name, source in model.items())


def test_a_scope_ends_with_its_block_also_after_an_error() -> None:
    with contextlib.suppress(ZeroDivisionError), config(num_ubatches=9):
        raise ZeroDivisionError
    assert resolve().config.num_ubatches == 2


def test_a_scope_is_seen_in_its_own_context_only() -> None:
    elsewhere = contextvars.copy_context()
    with config(num_ubatches=9):
        assert elsewhere.run(resolve).config.num_ubatches == 2
        assert contextvars.copy_context().run(resolve).config.num_ubatches == 9


def test_a_scope_refuses_at_once() -> None:
    with pytest.raises(UnknownNameError, match="no option 'num_ubatch'; did you mean 'num_ubatches'"):
        config(num_ubatch=3)
    with pytest.raises(ArgumentTypeError, match="num_ubatches is True"):
        config(num_ubatches=True)
    assert resolve().config == UBatchConfig()


def test_an_unknown_argument_gets_the_near_match() -> None:
    with pytest.raises(UnknownNameError, match="no option 'backnd'; did you mean 'backend'"):
        resolve(backnd="cpu")


def test_a_wrong_argument_is_refused_as_by_the_record() -> None:
    with pytest.raises(ArgumentValueError, match="num_ubatches is 0"):
        resolve(num_ubatches=0)


@pytest.mark.parametrize("value", [{"num_ubatches": 2}, "fast", 3], ids=repr)
def test_a_config_of_another_class_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=f"config is {type(value).__name__}; pass a UBatchConfig"):
        resolve(value)


def test_a_memory_limit_may_be_text_everywhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "microbatch.toml").write_text('memory_limit = "1MiB"')
    assert resolve().config.memory_limit == 2**20
    monkeypatch.setenv("MICROBATCH_MEMORY_LIMIT", "500 MB")
    assert resolve().config.memory_limit == 500_000_000
    with config(memory_limit="2GiB"):
        assert resolve().config.memory_limit == 2**31
    assert resolve(memory_limit="3GiB").config.memory_limit == 3 * 2**30


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_ubatches", " 8 ", 8),
        ("barrier_timeout", "2.5", 2.5),
        ("barrier_timeout", "none", None),
        ("barrier_timeout", "None", None),
        ("enable_overlap", "0", False),
        ("enable_overlap", "FALSE", False),
        ("enable_overlap", "off", False),
        ("strict_yields", "yes", True),
        ("strict_yields", "1", True),
        ("memory_limit", "1000", 1000),
        ("memory_limit", "none", None),
        ("history", "sizes.json", "sizes.json"),
        ("policy", "memory-model,threshold", "memory-model,threshold"),
        ("num_ubatches", "", 2),
        ("backend", "  ", "auto"),
    ],
    ids=repr,
)
def test_variables_are_read_as_their_field_is_typed(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(variable(name), text)
    got = getattr(resolve().config, name)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("num_ubatches", "two", "num_ubatches is 'two'"),
        ("num_ubatches", "0", "num_ubatches is 0"),
        ("num_ubatches", "2.5", "num_ubatches is '2.5'"),
        ("num_ubatches", "none", "num_ubatches is 'none'"),
        ("barrier_timeout", "nan", "barrier_timeout is nan"),
        ("barrier_timeout", "soon", "barrier_timeout is 'soon'"),
        ("enable_overlap", "maybe", "enable_overlap is 'maybe'"),
        ("memory_limit", "2G", "'2G' has no unit"),
        ("splitter", "evn", "did you mean 'even'"),
        ("driver", "THREADS", "driver 'THREADS' does not exist"),
    ],
    ids=repr,
)
def test_a_wrong_variable_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, told: str
) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(ConfigError, match=f"^environment {variable(name)}: ") as caught:
        resolve()
    assert told in str(caught.value)


@pytest.mark.bad_input(28, 29)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nnum_ubatch = 2", "microbatch.toml:2: unknown key 'num_ubatch'; did you mean 'num_ubatches'?"),
        ("num-ubatches = 2", "microbatch.toml:1: unknown key 'num-ubatches'; did you mean 'num_ubatches'?"),
        ("num_ubatches = true", "microbatch.toml:1: num_ubatches is True (bool); give a whole number"),
        ("num_ubatches = 2.0", "microbatch.toml:1: num_ubatches is 2.0 (float); give a whole number"),
        ('num_ubatches = "2"', "microbatch.toml:1: num_ubatches is '2' (str); give a whole number"),
        ("barrier_timeout = inf", "microbatch.toml:1: barrier_timeout is inf; give"),
        ("barrier_timeout = nan", "microbatch.toml:1: barrier_timeout is nan; give"),
        ("strict_yields = 1", "microbatch.toml:1: strict_yields is 1 (int); give True or False"),
        ("max_ubatches = 99999999999999999999", "microbatch.toml:1: max_ubatches is 99999999999999999999;"),
        ("backend = 1979-05-27", "microbatch.toml:1: backend is of type date; give a name as text"),
        ("[backend]\nname = 'cpu'", "microbatch.toml:1: backend is of type dict; give a name as text"),
        ("backend = ''", "microbatch.toml:1: backend is ''; give a name"),
        ("[run]\nnum_ubatches = 2", "microbatch.toml:1: unknown key 'run';"),
    ],
    ids=repr,
)
def test_a_wrong_file_is_told_with_key_and_line(place: Path, text: str, told: str) -> None:
    (place / "microbatch.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve()
    assert str(caught.value).startswith(told)


def test_a_mistake_in_a_file_is_told_even_when_overruled(place: Path) -> None:
    (place / "microbatch.toml").write_text("num_ubatches = 0")
    with pytest.raises(ConfigError, match="num_ubatches is 0"):
        resolve(num_ubatches=2)


def test_two_sources_that_do_not_fit_together_are_both_named(place: Path) -> None:
    (place / "microbatch.toml").write_text("max_ubatches = 4")
    with pytest.raises(
        ConfigError,
        match=r"above the cap of 4.*num_ubatches from argument, max_ubatches from microbatch\.toml:1",
    ):
        resolve(num_ubatches=8)


def test_the_named_file_goes_in_place_of_the_search(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "microbatch.toml").write_text("num_ubatches = 3")
    (place / "other.toml").write_text("num_ubatches = 4")
    monkeypatch.setenv("MICROBATCH_CONFIG", "other.toml")
    assert resolve().sources["num_ubatches"] == "other.toml:1"
    monkeypatch.setenv("MICROBATCH_CONFIG", os.devnull)
    assert resolve().config == UBatchConfig()
    monkeypatch.setenv("MICROBATCH_CONFIG", "gone.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read"):
        resolve()


def test_a_history_in_a_file_is_relative_to_that_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "microbatch.toml").write_text('history = "learned/sizes.json"')
    (place / "deep").mkdir()
    monkeypatch.chdir(place / "deep")
    assert resolve().config.history == str(place.resolve() / "learned" / "sizes.json")


@pytest.mark.parametrize("path", ["../sizes.json", "/etc/passwd", "a/../../b"])
def test_a_file_that_was_found_may_not_send_the_history_elsewhere(
    place: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (place / "microbatch.toml").write_text(f'history = "{path}"')
    with pytest.raises(ConfigError, match=r"microbatch\.toml:1: history .* is outside the folder"):
        resolve()
    monkeypatch.setenv("MICROBATCH_CONFIG", "microbatch.toml")
    assert resolve().config.history == str((place / path).resolve())


def _of_a_stranger(path: Path, patch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        stranger = os.geteuid() + 1
        patch.setattr(os, "geteuid", lambda: stranger)


def _open_to_all(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.chmod(0o666)


def _link_to_one_of_a_stranger(path: Path, patch: pytest.MonkeyPatch) -> None:
    _of_a_stranger(path, patch)
    path.rename(path.with_name("theirs.toml"))
    path.symlink_to("theirs.toml")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners on this system")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_of_a_stranger, "belongs to another user"),
        (_open_to_all, "may be written by anybody"),
        (_link_to_one_of_a_stranger, "belongs to another user"),
    ],
)
def test_a_history_is_trusted_no_more_than_the_file_that_was_found(
    place: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, why: str
) -> None:
    """One warning names the line, the other options count, and a history named elsewhere is used."""
    path = place / "microbatch.toml"
    path.write_text('num_ubatches = 3\nhistory = "sizes.db"')
    spoil(path, monkeypatch)
    with pytest.warns(RuntimeWarning, match=rf"microbatch\.toml:2: history 'sizes\.db' is not used.* {why}"):
        config = resolve().config
    assert (config.history, config.num_ubatches) == (None, 3)
    with pytest.warns(RuntimeWarning):
        assert resolve(history="mine.db").config.history == "mine.db"
    monkeypatch.setenv("MICROBATCH_CONFIG", "microbatch.toml")  # named, so the user's own word
    assert resolve().config.history == str(place.resolve() / "sizes.db")


def test_asking_for_the_source_of_an_unknown_option_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="no option 'polic'; did you mean 'policy'"):
        resolve().explicit("polic")


def test_a_working_directory_that_is_gone_means_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert resolve().config == UBatchConfig()
