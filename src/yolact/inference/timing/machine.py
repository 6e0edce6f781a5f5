"""The machine a measurement is made on: what it is called, what runs there, what it can do at most."""

import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from yolact.config.runtime import Precision
from yolact.inference.timing.clock import Clock

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIDE, _SIDE_ON_GPU, _ROWS = 2048, 8192, 8


def device_name(device: torch.device) -> str:
    """A device as people know it: the GPU's name, or the processor's with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = named[1].strip() if named else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def conditions(device: torch.device) -> dict[str, str]:
    """What a figure depends on beside the model: the device, versions, and the driver of a GPU."""
    found = {
        "device": device_name(device),
        "yolact": version("yolact"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        found["driver"] = _driver()
    return found


def compared_with(precision: Precision) -> Precision:
    """In which numbers the product is made that a network is compared with.

    Integers of 8 bits are compared with float32, for which every processor has a fast product.
    """
    return "float32" if precision == "int8" else precision


class Gemm:
    """A product of two large square matrices in torch: what a device can do at most, measured.

    It uses as many threads as torch does. It is written in two ways, of which the faster counts: as
    a product, and as a 1x1 convolution, for which torch has another library on processors. A network
    can go beyond it where a convolution is computed in a way that takes fewer operations (Winograd),
    or with smaller numbers.
    """

    def __init__(self, device: torch.device, precision: Precision) -> None:
        """Make the matrices.

        Args:
            device: Where to multiply.
            precision: Of the numbers, any but int8.
        """
        self.precision = precision
        self._device = device
        self._side = _SIDE_ON_GPU if device.type == "cuda" else _SIDE
        self._seconds: list[float] = []
        size, dtype = (self._side, self._side), _DTYPES[self.precision]
        one, other = (torch.rand(size, device=device).to(dtype) for _ in range(2))
        image = one.reshape(1, _ROWS, -1, self._side).permute(0, 3, 1, 2)  # channels last
        self._ways: list[Callable[[], Tensor]] = [
            partial(torch.matmul, one, other),
            partial(F.conv2d, image, other[:, :, None, None]),
        ]

    def run(self) -> None:
        """Multiply them twice each way; the second time counts."""
        for multiply in self._ways:
            with torch.inference_mode():
                multiply()
                clock = Clock(self._device)
                multiply()
                clock.mark("gemm")
            self._seconds.append(clock.seconds["gemm"])

    @property
    def flops_per_second(self) -> float:
        """Operations in a second, a multiplication with its addition counted as two; at best."""
        return 2 * self._side**3 / min(self._seconds)


def _driver() -> str:
    """Version of the GPU's driver, as NVIDIA's own tool says."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    words = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"
