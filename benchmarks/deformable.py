"""What deformable layers cost on this machine's CPU.

    python benchmarks/deformable.py --threads 2

First each size of layer in YOLACT++ R50, beside its two parts (the convolution that predicts offsets,
and torchvision's ``deform_conv2d``) and beside the plain convolution it replaces. Then the forward
passes of YOLACT R50 and YOLACT++ R50. What is compared is measured interleaved, round by round, and the
median is printed: compare figures of one run only.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from interleaved import interleaved
from yolact.config.presets import preset
from yolact.model.build import build_yolact
from yolact.model.deform_conv import DeformableConv

LAYERS = ((128, 138, 2), (128, 69, 1), (256, 35, 1), (512, 18, 1))
"""Channels, side of the input, stride."""


def measure_layer(channels: int, side: int, stride: int, rounds: int) -> dict[str, float]:
    """One deformable layer with offsets of about a cell, its parts, and the plain convolution."""
    plain = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
    layer = DeformableConv(nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False))
    nn.init.normal_(layer.conv_offset_mask.weight, std=(9 * channels) ** -0.5)
    for module in (plain, layer):
        module.to(memory_format=torch.channels_last)  # as in the predictor
    x = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last)
    offsets, modulation = layer.conv_offset_mask(x).split((18, 9), dim=1)
    mask = modulation.sigmoid()

    def sample() -> Tensor:
        return deform_conv2d(x, offsets, layer.weight, layer.bias, **layer.geometry, mask=mask)

    return interleaved(
        {
            "plain": lambda: plain(x),
            "offsets": lambda: layer.conv_offset_mask(x),
            "deform_conv2d": sample,
            "layer": lambda: layer(x),
        },
        rounds,
    )


def measure_networks(rounds: int) -> dict[str, float]:
    """Forward passes for one picture, random weights, offsets of about a cell."""
    tasks: dict[str, Callable[[], object]] = {}
    for name in ("yolact-resnet50", "yolact-plus-resnet50"):
        config = preset(name).model
        network = build_yolact(config).eval().to(memory_format=torch.channels_last)
        for module in network.modules():
            if isinstance(module, DeformableConv):
                weight = module.conv_offset_mask.weight
                nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        images = torch.randn(1, 3, *config.image_size).contiguous(memory_format=torch.channels_last)
        tasks[name] = lambda network=network, images=images: network(images)
    return interleaved(tasks, rounds)


def main() -> None:
    """Measure and print two tables in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    with torch.inference_mode():
        names = ("plain", "offsets", "deform_conv2d", "layer")
        print(f"{'ms, median':<18}" + "".join(f"{n:>15}" for n in (*names, "layer / parts")))
        for channels, side, stride in LAYERS:
            times = measure_layer(channels, side, stride, arguments.rounds)
            ratio = times["layer"] / (times["offsets"] + times["deform_conv2d"])
            label = f"{channels} x {side}² / {stride}"
            print(f"{label:<18}" + "".join(f"{times[n]:15.1f}" for n in names) + f"{ratio:15.2f}")
        for name, milliseconds in measure_networks(max(3, arguments.rounds // 3)).items():
            print(f"{name:<22}{milliseconds:10.0f}")


if __name__ == "__main__":
    main()
