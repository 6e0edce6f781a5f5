"""What trackers have written, read back from their own files."""

import io
import json
import struct
import time
from collections import defaultdict

import numpy as np
from PIL import Image

Points = dict[str, list[tuple[int, float]]]


def tensorboard_points(folder) -> tuple[Points, dict[str, str]]:
    """Of each key its (step, value), and the last text of each tag."""
    from tensorboard.backend.event_processing.event_accumulator import (
        STORE_EVERYTHING_SIZE_GUIDANCE,
        EventAccumulator,
    )

    events = EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE)
    events.Reload()
    tags = events.Tags()
    points = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    texts = {
        tag.removesuffix("/text_summary"): events.Tensors(tag)[-1]
        .tensor_proto.string_val[0]
        .decode()
        for tag in tags["tensors"]
        if tag.endswith("/text_summary")
    }
    return points, texts


def tensorboard_panels(folder) -> dict[str, dict]:
    """Of each kind and tag a list of (step, what is there): an RGB array, a histogram, a table."""
    from tensorboard.backend.event_processing.event_accumulator import (
        STORE_EVERYTHING_SIZE_GUIDANCE,
        EventAccumulator,
    )
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE)
    events.Reload()
    tags = events.Tags()
    return {
        "pictures": {
            tag: [(e.step, open_picture(e.encoded_image_string)) for e in events.Images(tag)]
            for tag in tags["images"]
        },
        "histograms": {
            tag: [(e.step, e.histogram_value) for e in events.Histograms(tag)]
            for tag in tags["histograms"]
        },
        "curves": {
            tag: [(e.step, make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
            for tag in tags["tensors"]
            if tag in events.PluginTagToContent("pr_curves")
        }
        if "pr_curves" in events._plugin_to_tag_to_content
        else {},
    }


def open_picture(data):
    return np.array(Image.open(io.BytesIO(data)))


def mlflow_run(store_uri, run_id):
    """Of each key its (step, value), and the run itself."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store_uri)
    run = client.get_run(run_id)
    points = {
        key: [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]
        for key in run.data.metrics
    }
    return points, run


def wandb_records(path):
    """The records of a ``.wandb`` file: a log in LevelDB's format, of protocol buffers."""
    from wandb.proto import wandb_internal_pb2 as messages

    data, block = path.read_bytes(), 32768
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # too little room for a header: the rest of the block is padding
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + 7 + length > len(data):
            return  # still being written
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = messages.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def wandb_run(path) -> tuple[Points, dict]:
    """Of each key its (step, value), and what the file says of the run itself.

    W&B's own process ends the file a moment after the run is finished here.
    """
    deadline = time.monotonic() + 60
    while True:
        points, about = _wandb_run(path)
        if "exit" in about and "status" in about["summary"]:
            return points, about
        assert time.monotonic() < deadline, f"{path} has no end: {about}"
        time.sleep(0.05)


def _wandb_run(path):
    points, about = defaultdict(list), {"config": {}, "summary": {}, "axes": {}}
    about |= {"panels": defaultdict(list), "charts": {}}
    for record in wandb_records(path):
        match record.WhichOneof("record_type"):
            case "run":
                about |= {"id": record.run.run_id, "project": record.run.project}
                about["name"] = record.run.display_name
                about["config"] |= {
                    i.key: json.loads(i.value_json) for i in record.run.config.update
                }
            case "history":
                row = {}
                for item in record.history.item:
                    *outer, key = item.nested_key or [item.key]
                    place = row
                    for name in outer:
                        place = place.setdefault(name, {})
                    place[key] = json.loads(item.value_json)
                for key, value in row.items():
                    if isinstance(value, dict):
                        about["panels"][key].append((row["step"], value))
                    elif not key.startswith("_") and key != "step":
                        points[key].append((row["step"], float(value)))
            case "config":
                for item in record.config.update:
                    if list(item.nested_key[:2]) == ["_wandb", "visualize"]:
                        chart = json.loads(item.value_json)["panel_config"]["panelDefId"]
                        about["charts"][item.nested_key[2]] = chart
            case "metric":
                about["axes"][record.metric.glob_name or record.metric.name] = (
                    record.metric.step_metric
                )
            case "summary":
                for item in record.summary.update:
                    about["summary"][item.key or item.nested_key[0]] = json.loads(item.value_json)
            case "exit":
                about["exit"] = record.exit.exit_code
    return dict(points), about
