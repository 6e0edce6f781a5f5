import pytest
import torch

from yolact.inference.timing.machine import Gemm, compared_with, conditions, device_name

CPU = torch.device("cpu")


def test_what_a_figure_depends_on():
    found = conditions(CPU)
    assert found["torch"] == torch.__version__
    assert found["device"] == device_name(CPU)
    assert f"{torch.get_num_threads()} thread" in found["device"]
    assert {"yolact", "python"} <= set(found)
    assert "driver" not in found


@pytest.mark.parametrize(
    ("precision", "measured"), [("float32", "float32"), ("bf16", "bf16"), ("int8", "float32")]
)
def test_the_peak_is_work_over_the_best_time(precision, measured, monkeypatch):
    monkeypatch.setattr("yolact.inference.timing.machine._SIDE", 8)
    gemm = Gemm(CPU, compared_with(precision))
    assert gemm.precision == measured
    gemm.run()
    gemm._seconds[:] = [0.5, 0.25, 1.0]
    assert gemm.flops_per_second == 2 * 8**3 / 0.25
