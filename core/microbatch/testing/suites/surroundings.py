"""Memory, failures, threads, and how the backend is found."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar

import pytest

from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch.loading.objects import missing_members
from microbatch.testing.suites.base import BackendChecks, in_threads

VARIABLE: ContextVar[str] = ContextVar("microbatch_suite", default="unset")


class SurroundingChecks(BackendChecks):
    """What planning, recovery and look-up rely on."""

    def check_every_member_of_the_protocol_is_there(self) -> None:
        """Nothing that core may call is missing."""
        backend = self.make_backend()
        assert missing_members(backend, Backend) == ()
        assert backend.name

    def check_a_memory_reading_can_be_true(self) -> None:
        """Bytes are within the capacity, and pressure between 0 and 1."""
        reading = self.make_backend().memory()
        assert 0 < reading.capacity
        assert 0 <= reading.usable <= reading.capacity
        assert 0 <= reading.in_use <= reading.peak
        assert 0 <= reading.pressure <= 1

    def check_running_out_of_memory_is_told_and_survived(self) -> None:
        """Without room the device raises OOM, spares live arrays, and works again after `reclaim`."""
        backend = self.make_backend()
        array = self.make_buffer(backend, self.numbers(4))
        with pytest.raises(Exception) as caught:
            self.run_out_of_memory(backend)
        assert backend.classify(caught.value) is FailureKind.OOM
        del caught
        gc.collect()  # the error's frames, which hold what the failed attempt had allocated
        backend.reclaim()
        made = backend.empty((4, 2), array)
        backend.copy(made, array)
        self.add_one(array)
        self.assert_values(backend, made, self.numbers(4))
        self.assert_values(backend, array, self.numbers(4) + 1)

    def check_failures_are_told_apart(self) -> None:
        """`classify` says what each error of `failures()` means."""
        backend = self.make_backend()
        expected = list(self.failures())
        told = [(error, backend.classify(error)) for error, _ in expected]
        assert told == expected, f"classify says {told}, failures() says {expected}"

    def check_reclaim_keeps_live_arrays(self) -> None:
        """Giving the cache back takes nothing that is in use."""
        backend = self.make_backend()
        array = self.make_buffer(backend, self.numbers(4))
        self.add_one(array)
        backend.reclaim()
        self.assert_values(backend, array, self.numbers(4) + 1)

    def check_reclaim_collects_no_garbage(self) -> None:
        """That is the step's to decide, which collects once: with a large heap it takes 0.3 s."""
        backend, collections = self.make_backend(), list[str]()

        def notice(phase: str, info: Mapping[str, int]) -> None:
            collections.append(phase)

        enabled = gc.isenabled()
        gc.disable()  # none comes by itself
        gc.callbacks.append(notice)
        try:
            backend.reclaim()
        finally:
            gc.callbacks.remove(notice)
            if enabled:
                gc.enable()
        assert not collections, "reclaim collected garbage; leave that to the step"

    def check_thread_state_is_carried_and_put_back(self) -> None:
        """A worker sees the caller's context variables inside `apply`, and its own before and after."""
        backend = self.make_backend()
        token = VARIABLE.set("caller")
        try:
            state = backend.thread_state()
        finally:
            VARIABLE.reset(token)
        seen: list[str] = []

        def body() -> None:
            seen.append(VARIABLE.get())
            with state.apply():
                seen.append(VARIABLE.get())
            seen.append(VARIABLE.get())
            with pytest.raises(KeyError), state.apply():
                raise KeyError("row")
            seen.append(VARIABLE.get())

        in_threads(body)
        assert seen == ["unset", "caller", "unset", "unset"]

    def check_a_state_may_be_applied_by_several_threads_at_once(self) -> None:
        """As the workers of a parallel step do."""
        state = self.make_backend().thread_state()
        meeting = threading.Barrier(2, timeout=30)

        def body() -> None:
            try:
                with state.apply(), suppress(threading.BrokenBarrierError):
                    meeting.wait()
            except BaseException:
                meeting.abort()
                raise

        in_threads(body, body)
        assert not meeting.broken

    def check_limits_may_be_entered(self) -> None:
        """`parallel_limits` and `worker_limits` around an empty step, nested."""
        backend = self.make_backend()
        with backend.parallel_limits(2), backend.worker_limits(2), backend.parallel_limits(1):
            pass

    def check_limits_may_be_left_twice_and_without_having_been_entered(self) -> None:
        """An interrupt may strike on the way in or out."""
        backend = self.make_backend()
        for block in (backend.parallel_limits(2), backend.worker_limits(2)):
            block.__exit__(None, None, None)
            block.__enter__()
            block.__exit__(None, None, None)
            block.__exit__(None, None, None)

    def check_probing_imports_no_framework(self) -> None:
        """Listing backends in a fresh interpreter leaves the framework unimported, and names this backend."""
        if self.registered_name is None:
            pytest.skip("the suite has no registered_name: the backend is not announced by a plugin")
        code = (
            "import sys, microbatch\n"
            "names = [line.name for line in microbatch.backends()]\n"
            f"assert {self.registered_name!r} in names, names\n"
            f"loaded = [name for name in {self.frameworks!r} if name in sys.modules]\n"
            "assert not loaded, loaded\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
