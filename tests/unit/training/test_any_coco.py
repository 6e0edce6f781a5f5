"""Whatever a valid COCO file holds, a training of it begins with finite losses."""

import tempfile
from pathlib import Path

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from strategies import coco_documents, write_coco
from yolact.data.dataset import SampleIndex, collate
from yolact.losses.criterion import YolactCriterion
from yolact.training.loader import training_samples
from yolact.training.prepare import prepare
from yolact.training.processes import Processes
from yolact.training.request import Request


@settings(deadline=None, max_examples=25)
@given(
    document=coco_documents(),
    recipe=st.sampled_from(["original", "modern"]),
    letterbox=st.booleans(),
    epoch=st.integers(0, 99),
)
def test_a_training_begins(document, recipe, letterbox, epoch):
    assume(document["images"])
    with tempfile.TemporaryDirectory() as folder:
        data = write_coco(Path(folder), train=document, val=document)
        prepared = prepare(
            Processes(),
            torch.device("cpu"),
            Request(
                data=data,
                out=Path(folder) / "run",
                size="64x96",
                letterbox=letterbox,
                settings={
                    "recipe": recipe,
                    "copy_paste": 0.5,
                    "mosaic": 0.5,
                    "freeze_batch_norm": True,
                    "cache_images": False,
                },
            ),
        )
        samples = training_samples(prepared.recipe, prepared.train_data)
        batch = collate([samples[SampleIndex(epoch, i, False)] for i in range(len(samples))])
    network = prepared.network.eval()
    losses = YolactCriterion(prepared.recipe.training.loss)(
        network(batch.images, with_semantics=True), batch.targets, network.anchors
    )
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
