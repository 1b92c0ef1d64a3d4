"""Dask, as far as runs need it: a scheduler, workers with one device each, tasks for one of them.

Each device is a Dask worker of its own, named after it. Dask's resource ``device``, of which every
worker has one, keeps two tasks off one board. Workers of this computer are started with the run,
and again by their nannies if they die; others come by ``dither worker``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import queue
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arch.device import DeviceError
from ..data import DATA_VARIABLE
from .places import check_place, security

__all__ = ["Office", "serve"]

_SETTINGS = {
    # A task whose worker dies is ours to do again, not Dask's.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.system-monitor.interval": "10s",
}
_AGAIN_SECONDS = 0.5
"""How long it takes until a worker is begun again that died before it was there."""
_REVIVAL_SECONDS = 20.0
"""How long a nanny may be without its worker before it is told to start one."""
_PAGES = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Dask's pages about itself: none, and what remains of them can be reached from here alone."""
_DASHBOARD = {"dashboard": True, "dashboard_address": "127.0.0.1:8787"}
"""The same where somebody wants to see them."""
_WORKER = {
    # One thread for the device, one that adds up what others have found meanwhile.
    "nthreads": 2,
    "resources": {"device": 1},
    "memory_limit": 0,
    **_PAGES,
    "silence_logs": logging.CRITICAL,
}


def _configure() -> None:
    # Workers' processes read this as they begin: what Dask has to say is nothing for people.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    try:
        import dask
        import distributed
    except ImportError:
        raise DeviceError("many devices need Dask; install it: pip install distributed") from None
    dask.config.set(_SETTINGS)
    # Dask leaves errors of its own tasks to asyncio, where a worker was killed in their midst.
    for name in (distributed.__name__, "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class Office:
    """A scheduler in this process, with workers of this computer and whoever joins.

    :param devices: names of the devices of this computer.
    :param address: where others may join.
    :param tls: folder of certificates, if any.
    :param data: folder of data for the workers of this computer.
    :param dashboard: whether Dask shows pages about itself, to this computer alone.
    :raises DeviceError: if the address is refused or cannot be had, or Dask is not installed.
    """

    def __init__(
        self, devices: Sequence[str], address: str, tls: Path | None, data: Path | None, dashboard: bool = False
    ) -> None:
        scheme, host, port = check_place(address, tls)
        _configure()
        if dashboard and importlib.util.find_spec("bokeh") is None:
            raise DeviceError("Dask's dashboard needs Bokeh; install it: pip install bokeh, or leave --dashboard out")
        from distributed import Client, Scheduler, SpecCluster

        secure = security(tls)
        self._seen: dict[str, float] = {}
        self.own = tuple(f"{device}#{number}" for number, device in enumerate(devices, 1))
        """Names of the workers of this computer, whether they are alive or not."""
        self.events: queue.Queue[Any] = queue.Queue()
        """Tasks that have come to an end, one way or another."""
        settings = {"host": host, "port": port, "protocol": f"{scheme}://", "security": secure}
        settings |= _DASHBOARD if dashboard else _PAGES
        # Workers of this computer talk to each other, too, where only those may who may to the run.
        own = {"host": host, "protocol": f"{scheme}://", "security": secure, **_WORKER}
        own["env"] = {DATA_VARIABLE: str(data)} if data else {}
        self._own, self._nannies, self._starting, self._open = own, dict[str, Any](), dict[str, Any](), True
        try:
            self._cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": settings},
                security=secure,
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            raise DeviceError(f"cannot listen at {address}: {_cause(error)}; use another port") from None
        self._client = Client(self._cluster, security=secure, set_as_default=False)
        for name in self.own:
            self._cluster.loop.add_callback(self._begin, name)

    @property
    def address(self) -> str:
        """Where others may join."""
        return str(self._cluster.scheduler_address)

    @property
    def dashboard(self) -> str | None:
        """Where Dask's pages about itself are; None if nobody wants them."""
        port = self._cluster.scheduler.services.get("dashboard")
        return None if port is None else f"http://127.0.0.1:{port.port}/status"

    async def _begin(self, name: str) -> None:
        """Starts a worker of this computer, again and again if it dies at that."""
        from distributed import Nanny

        while self._open:
            nanny = self._starting[name] = Nanny(self.address, name=name, **self._own)
            try:
                self._nannies[name] = await nanny
                return
            except Exception:
                await nanny.close()
                await asyncio.sleep(_AGAIN_SECONDS)
            finally:
                self._starting.pop(name, None)

    def _revive(self) -> None:
        """Starts workers of this computer again that died while their nannies started them again:
        nannies give up on those.
        """
        now = time.monotonic()
        for name, nanny in list(self._nannies.items()):
            if nanny.pid is not None:
                self._seen[name] = now
            elif now - self._seen.setdefault(name, now) > _REVIVAL_SECONDS:
                self._seen[name] = now
                self._cluster.loop.add_callback(nanny.instantiate)

    def workers(self) -> dict[str, str]:
        """Names of all workers that are alive, by their addresses."""
        self._revive()
        return {address: str(state.name) for address, state in list(self._cluster.scheduler.workers.items())}

    def processes(self) -> dict[str, int]:
        """Process numbers of the workers of this computer, by their names."""
        return {name: nanny.pid for name, nanny in list(self._nannies.items()) if nanny.pid}

    def next(self, seconds: float) -> Any:
        """Returns a task that has come to an end, or None after some seconds without any."""
        try:
            return self.events.get(timeout=seconds)
        except queue.Empty:
            return None

    def submit(self, worker: str | None, function: Callable[..., Any], *values: object) -> Any:
        """Lets a worker execute a function, and notes in :attr:`events` when that is over.

        :param worker: its address, whose device is then busy; None for any, without its device.
        """
        place = {} if worker is None else {"workers": [worker], "resources": {"device": 1}}
        task = self._client.submit(function, *values, pure=False, **place)
        task.add_done_callback(self.events.put)
        return task

    def close(self) -> None:
        """Ends all workers of this computer, and sends the others away."""
        self._open = False
        self._cluster.sync(self._end)
        self._client.close()
        self._cluster.close()

    async def _end(self) -> None:
        nannies = (*self._nannies.values(), *self._starting.values())
        await asyncio.gather(*(nanny.close() for nanny in nannies), return_exceptions=True)


def serve(
    device: str, address: str, tls: Path | None, say: Callable[[str], None], environment: Mapping[str, str]
) -> None:
    """Offers a device of this computer to a run, until that is over.

    :param address: where the run listens.
    :param environment: variables of the device's process, besides those of this one.
    :raises DeviceError: if the address is refused, or Dask is not installed.
    """
    scheme, host, port = check_place(address, tls)
    _configure()
    from distributed import Nanny

    secure = security(tls)
    name = f"{device}#{socket.gethostname()}-{os.getpid()}"

    async def work() -> None:
        await _reachable(host, port, lambda: say(f"waiting for a run at {address}"))
        own = {"protocol": f"{scheme}://", "security": secure, "env": dict(environment), **_WORKER}
        if scheme == "tcp":
            own["host"] = host
        nanny = Nanny(f"{scheme}://{host}:{port}", name=name, **own)
        try:
            await nanny
        except Exception as error:
            await nanny.close()
            raise DeviceError(f"cannot join the run at {address}: {_cause(error)}") from None
        async with nanny:
            say(f"{device} belongs to the run at {address} (Ctrl-C takes it away)")
            await nanny.finished()
        say(f"the run at {address} is over, or gone")

    asyncio.run(work())


def _cause(error: BaseException) -> str:
    """What went wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "strerror", None) or error)


async def _reachable(host: str, port: int, wait: Callable[[], None]) -> None:
    """Waits until somebody listens."""
    told = False
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            if not told:
                wait()
                told = True
            await asyncio.sleep(1)
        else:
            writer.close()
            return
