"""Several processes that train one model: how they start, find each other, and agree.

Whoever starts them, every process runs the same code. Without torchrun or SLURM this package starts
them itself; then an error in one of them ends all and is raised where ``train`` was called.
"""

import contextlib
import io
import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from yolact.errors import UsageError, YolactError
from yolact.inference.load import choose_device

T = TypeVar("T")

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# Longer than any process waits for another one, as while the first writes to a slow disk.
_PATIENCE = timedelta(hours=2)
# A process that dies may be the victim of another one, whose error says more.
_LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True)
class Processes:
    """The processes of one training, and which of them this one is."""

    devices: int = 1
    """Processes on each machine, with a device each."""
    nodes: int = 1
    """Machines."""
    rank: int = 0
    """Of this process, over all machines."""
    environment: ClusterEnvironment | None = None
    """How Lightning finds the others; None if this process is alone."""

    @property
    def count(self) -> int:
        """Of all processes."""
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes and speaks."""
        return self.rank == 0


Work = Callable[[Processes, torch.device], T]


def run_together(work: Work[T], *, device: str, devices: int | None, nodes: int | None) -> T:
    """Call ``work`` in every process of a training; the first one's result is everybody's.

    Under torchrun or SLURM this process is one of them. Else, if there are to be several, they are
    started, and this one waits for them. There the rule for Python's ``spawn`` applies: a script
    needs ``if __name__ == "__main__":``.

    Args:
        work: Called with the processes and this one's device. Can be pickled, and so can its result.
        device: As the user names it, without an index if there are several processes.
        devices: Processes on each machine; those of the launcher by default, else one.
        nodes: Machines, likewise. Without a launcher, ``MASTER_ADDR``, ``MASTER_PORT`` and
            ``NODE_RANK`` say which one this is.

    Raises:
        UsageError: If the launcher has started another number, or there are not enough devices.
        YolactError: If a process dies without a word.
        Exception: Whatever ``work`` raises in any of them.
    """
    found = _launched_by_others()
    if found is not None:
        for name, given in (("devices", devices), ("nodes", nodes)):
            if given is not None and given != getattr(found, name):
                raise UsageError(
                    f"the launcher has started processes for {name} = {getattr(found, name)}, "
                    f"not {given}: leave {name} out, or tell the launcher."
                )
        return _join(work, found, _own_device(device, found))
    wanted = Processes(
        1 if devices is None else devices,
        1 if nodes is None else nodes,
    )
    if min(wanted.devices, wanted.nodes) < 1:
        raise UsageError("devices and nodes must be positive.")
    if wanted.count == 1:
        return work(wanted, choose_device(device))
    _own_device(device, wanted)
    return _launch(work, wanted, device)


def is_first_process() -> bool:
    """Whether this process speaks for a training: it started it, or is the launcher's first one."""
    found = _launched_by_others()
    return found is None or found.is_first


def total(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes, without a gradient."""
    values = values.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def of_first(value: float) -> float:
    """The first process's ``value``, for decisions by the clock."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=_meeting_place())
    distributed.broadcast(shared, src=0)
    return float(shared)


def gathered(values: tuple[T, ...]) -> tuple[T, ...]:
    """The ``values`` of all processes, by rank; anything that can be pickled."""
    if not distributed.is_initialized():
        return values
    parts: list[Any] = [()] * distributed.get_world_size()
    distributed.all_gather_object(parts, values)
    return tuple(value for part in parts for value in part)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    any_of(False)


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Give ``tensors`` the values that they have in the first process."""
    if distributed.is_initialized():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def any_of(flag: bool) -> bool:
    """Whether ``flag`` is set in any process."""
    if not distributed.is_initialized():
        return flag
    return bool(total(torch.tensor(int(flag), device=_meeting_place())))


def least_of(value: int) -> int:
    """The smallest ``value`` of all processes."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor(value, device=_meeting_place())
    distributed.all_reduce(shared, op=distributed.ReduceOp.MIN)
    return int(shared)


def _meeting_place() -> torch.device:
    """Where tensors must lie to be exchanged."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _launched_by_others() -> Processes | None:
    """What torchrun, SLURM, or ``_launch`` says about this process, if it started several."""
    if all(name in os.environ for name in _TORCHRUN):
        environment: ClusterEnvironment = TorchElasticEnvironment()
        per_node = int(os.environ["LOCAL_WORLD_SIZE"])
    else:
        with warnings.catch_warnings(action="ignore"):  # hints about srun, wherever it is installed
            if not SLURMEnvironment.detect() or int(os.environ["SLURM_NTASKS"]) == 1:
                return None
            try:
                environment = SLURMEnvironment(auto_requeue=False)
            except RuntimeError as error:
                raise UsageError(
                    "SLURM has several tasks, but not so many per node: use --ntasks-per-node."
                ) from error
        per_node = int(os.environ["SLURM_NTASKS_PER_NODE"])
    count = environment.world_size()
    if count == 1:
        return None
    return Processes(per_node, count // per_node, environment.global_rank(), environment)


def _own_device(name: str, processes: Processes) -> torch.device:
    """The device of this process; found without touching a GPU, which costs memory there.

    Raises:
        UsageError: If there is not one for every process of this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise UsageError(f"several processes run on cuda or cpu, not on {name}.")
    if torch.cuda.device_count() < processes.devices:
        raise UsageError(
            f"{processes.devices} processes need as many GPUs; here "
            f"{'is' if torch.cuda.device_count() == 1 else 'are'} {torch.cuda.device_count()}."
        )
    local = 0 if processes.environment is None else processes.environment.local_rank()
    return torch.device("cuda", local)


def _join(work: Work[T], processes: Processes, device: torch.device) -> T:
    """Work as one of several processes that run already."""
    environment = processes.environment
    assert environment is not None
    os.environ["MASTER_ADDR"] = environment.main_address
    os.environ["MASTER_PORT"] = str(environment.main_port)
    rank, count = processes.rank, processes.count
    store, _, _ = next(iter(rendezvous("env://", rank, count, timeout=_PATIENCE)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=count,
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        with contextlib.nullcontext() if processes.is_first else _silence():
            result = [work(processes, device)]
            distributed.broadcast_object_list(result, src=0)
    except Exception as error:
        if not _first_to_fail(store):
            raise SystemExit(getattr(error, "exit_code", 1)) from error
        raise
    distributed.destroy_process_group()
    return result[0]


def _first_to_fail(store: Store) -> bool:
    """Whether no other process has failed before; those that lose it fail, too, and are not asked."""
    try:
        return bool(store.add("yolact/failures", 1) == 1)
    except RuntimeError:  # the process that keeps the store is gone: it has failed
        return False


def _silence() -> contextlib.redirect_stderr[io.StringIO]:
    """What all processes would say, the first one says."""
    return contextlib.redirect_stderr(io.StringIO())


def _launch(work: Work[T], wanted: Processes, device: str) -> T:
    """Start the processes of this machine and wait for them.

    They are told about each other as torchrun tells them.
    """
    context = multiprocessing.get_context("spawn")
    children: list[tuple[BaseProcess, Connection]] = []
    with _passing_on_signals(children) as was_interrupted:
        try:
            for variables in _variables(wanted):
                receiver, sender = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(
                    target=_child, args=(work, wanted, device, variables, sender)
                )
                with _deaf_to_interrupts(), _no_word_about_semaphores():
                    process.start()
                sender.close()
                children.append((process, receiver))
            result: T = _first_result(children)
            return result
        except YolactError:
            if was_interrupted():
                raise KeyboardInterrupt from None
            raise
        finally:
            patience = time.monotonic() + _LAST_WORDS_SECONDS
            for process, _ in children:
                process.join(max(patience - time.monotonic(), 0.0))
                process.kill()  # one that still waits for another cannot go on
                process.join()


def _variables(wanted: Processes) -> list[dict[str, str]]:
    node = 0
    address, port = "127.0.0.1", ""
    if wanted.nodes > 1:
        try:
            address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
            node = int(os.environ["NODE_RANK"])
        except (KeyError, ValueError) as error:
            raise UsageError(
                "several nodes are started by torchrun or srun, or need MASTER_ADDR, MASTER_PORT "
                "and NODE_RANK in the environment."
            ) from error
    return [
        {
            "MASTER_ADDR": address,
            "MASTER_PORT": port or (port := _free_port()),
            "WORLD_SIZE": str(wanted.count),
            "LOCAL_WORLD_SIZE": str(wanted.devices),
            "GROUP_RANK": str(node),
            "RANK": str(node * wanted.devices + local_rank),
            "LOCAL_RANK": str(local_rank),
        }
        for local_rank in range(wanted.devices)
    ]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _child(
    work: Work[T], wanted: Processes, device: str, variables: dict[str, str], answer: Connection
) -> None:
    """What a started process does: its part of the work, and then its answer."""
    os.environ.update(variables)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = run_together(work, device=device, devices=wanted.devices, nodes=wanted.nodes)
        answer.send((result, None))
    except Exception as error:
        if not isinstance(error, YolactError | OSError):
            error.add_note(traceback.format_exc())
        answer.send((None, error))
        for worker in multiprocessing.active_children():
            worker.kill()
        os._exit(1)  # others may never answer, so that an orderly end could wait for ever


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _first_result(children: list[tuple[BaseProcess, Connection]]) -> Any:
    """What the processes answer when all are done; the first error that one of them names.

    Raises:
        YolactError: If one dies without a word, as when the system is out of memory.
    """
    waiting = {receiver: process for process, receiver in children}
    results: list[Any] = []
    deadline = None
    dead: BaseProcess | None = None
    while waiting:
        patience = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        ready = wait(list(waiting), patience)
        if not ready:
            break
        for receiver in ready:
            assert isinstance(receiver, Connection)
            process = waiting.pop(receiver)
            try:
                result, error = receiver.recv()
            except EOFError:
                process.join()
                dead = dead or process
                deadline = deadline or time.monotonic() + _LAST_WORDS_SECONDS
                continue
            if error is not None:
                raise error
            results.append(result)
    if dead is not None:
        raise YolactError(f"a training process ended with exit code {dead.exitcode}.")
    return results[0]


@contextlib.contextmanager
def _passing_on_signals(
    children: list[tuple[BaseProcess, Connection]],
) -> Iterator[Callable[[], bool]]:
    """Ctrl+C and SIGTERM ask the processes to stop; tells whether one has come."""
    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for process, _ in children:
            if process.is_alive():
                process.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals are another thread's business
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started here ignores a terminal's Ctrl+C until it trains and knows what to do then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _no_word_about_semaphores() -> Iterator[None]:
    """Python, started here, tidies up after processes that had to be killed, and says nothing."""
    name = "PYTHONWARNINGS"
    before = os.environ.get(name)
    os.environ[name] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
