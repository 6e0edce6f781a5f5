"""How much memory the process has needed."""

import sys

import torch


def peak_memory_mib(device: torch.device) -> int:
    """Largest memory so far in MiB: of the GPU where one is used, else of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) // 2**20)
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))
