import multiprocessing
import os
import pickle

import pytest
import torch

from yolact.errors import ImageError, UsageError, YolactError
from yolact.training import processes
from yolact.training.processes import Processes, run_together

ALL_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR",
    "MASTER_PORT", "NODE_RANK", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID",
    "SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_NAME",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ALL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def where(found, device):
    return found, device


def together(device="cpu", devices=None, nodes=None):
    return run_together(where, device=device, devices=devices, nodes=nodes)


def test_alone_unless_asked():
    assert together() == (Processes(), torch.device("cpu"))
    assert together(devices=1, nodes=1) == (Processes(), torch.device("cpu"))
    assert processes.is_first_process()


class TestRefusals:
    @pytest.mark.parametrize("devices", [0, -2])
    def test_no_processes(self, devices):
        with pytest.raises(UsageError, match="must be positive"):
            together(devices=devices)

    @pytest.mark.parametrize("device", ["cuda:1", "mps"])
    def test_a_device_for_one(self, device):
        with pytest.raises(UsageError, match=f"on cuda or cpu, not on {device}"):
            together(device, devices=2)

    def test_fewer_gpus_than_processes(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(UsageError, match="2 processes need as many GPUs; here is 1"):
            together("cuda", devices=2)

    def test_nodes_that_do_not_know_each_other(self):
        with pytest.raises(UsageError, match="MASTER_ADDR, MASTER_PORT and NODE_RANK"):
            together(nodes=2)

    def test_another_number_than_the_launchers(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "4")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "3")
        monkeypatch.setenv("LOCAL_RANK", "1")
        with pytest.raises(UsageError, match="devices = 2, not 3"):
            together(devices=3)
        with pytest.raises(UsageError, match="nodes = 2, not 1"):
            together(nodes=1)
        assert not processes.is_first_process()


class TestSlurm:
    def test_its_tasks_are_the_processes(self, monkeypatch):
        values = {"NTASKS": 8, "NTASKS_PER_NODE": 4, "PROCID": 5, "LOCALID": 1, "NODEID": 1}
        for name, value in values.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
        found = processes._launched_by_others()
        assert (found.devices, found.nodes, found.rank, found.count) == (4, 2, 5, 8)
        assert found.environment.local_rank() == 1

    def test_one_task_is_no_launcher(self, monkeypatch):
        monkeypatch.setenv("SLURM_NTASKS", "1")
        assert processes._launched_by_others() is None

    def test_tasks_without_a_number_per_node(self, monkeypatch):
        monkeypatch.setenv("SLURM_NTASKS", "8")
        with pytest.raises(UsageError, match="--ntasks-per-node"):
            together()


def test_what_started_processes_are_told():
    first, second = processes._variables(Processes(devices=2))
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert (first["RANK"], second["RANK"]) == ("0", "1")
    assert second["WORLD_SIZE"] == second["LOCAL_WORLD_SIZE"] == "2"


def test_what_the_processes_of_a_second_node_are_told(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "first.example")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("NODE_RANK", "1")
    _, last = processes._variables(Processes(devices=2, nodes=2))
    assert last["RANK"] == "3"
    assert last["LOCAL_RANK"] == "1"
    assert last["WORLD_SIZE"] == "4"
    assert (last["MASTER_ADDR"], last["MASTER_PORT"]) == ("first.example", "29500")


@pytest.fixture
def started():
    """Start processes that each answer in their own way; end what is left of them."""
    context = multiprocessing.get_context("spawn")
    children = []

    def start(*targets):
        for target, *arguments in targets:
            receiver, sender = context.Pipe(duplex=False)
            given = [sender if argument == "answer" else argument for argument in arguments]
            process = context.Process(target=target, args=given)
            process.start()
            sender.close()
            children.append((process, receiver))
        return children

    yield start
    for process, receiver in children:
        process.kill()
        process.join()
        receiver.close()


def test_one_that_dies_without_a_word_is_named_by_its_exit_code(started, monkeypatch):
    monkeypatch.setattr(processes, "_LAST_WORDS_SECONDS", 0.1)
    with pytest.raises(YolactError, match="ended with exit code 7"):
        processes._first_result(started((os._exit, 7)))


def test_an_error_keeps_its_kind_on_the_way():
    error = pickle.loads(pickle.dumps(ImageError("a.jpg cannot be read")))
    assert (type(error), str(error), error.exit_code) == (ImageError, "a.jpg cannot be read", 3)
