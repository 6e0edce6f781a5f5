"""Finished masks from an ONNX file, with ONNX Runtime, NumPy and Pillow alone.

Make the file with   yolact export MODEL --to onnx --out model.onnx
and run this with    python onnx_masks.py model.onnx street.jpg found.png
"""

import json
import os
import sys

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime would report to its makers
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

COLOURS = np.array([(230, 60, 60), (50, 120, 220), (40, 170, 90), (240, 160, 30), (150, 80, 200)])


def main(model: str, picture: str, drawn: str, score: float = 0.15) -> None:
    """Find the objects of a picture and draw them over it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    record = json.loads(session.get_modelmeta().custom_metadata_map["yolact"])
    image = np.array(ImageOps.exif_transpose(Image.open(picture)).convert("RGB"))

    inputs = {"pictures": image[None], "score": np.array(score, np.float32)}
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, inputs), strict=True))

    lines = []
    for index, (x, y, width, height) in enumerate(found["windows"]):
        window = image[y : y + height, x : x + width]  # a mask is true only inside its window
        inside = found["masks"][index, :height, :width].astype(bool)
        window[inside] = (window[inside] + COLOURS[index % len(COLOURS)]) // 2
        name = record["model"]["class_names"][found["labels"][index]]
        lines.append((found["boxes"][index], f"{name} {found['scores'][index]:.2f}"))

    overlay = Image.fromarray(image)
    pen = ImageDraw.Draw(overlay)
    for box, text in lines:
        pen.rectangle(tuple(box), outline="white")
        pen.text((box[0] + 3, box[1] + 2), text, fill="white")
        print(text, *np.round(box).astype(int))
    overlay.save(drawn)


if __name__ == "__main__":
    main(*sys.argv[1:4])
