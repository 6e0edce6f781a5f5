import tempfile
from itertools import islice

import pytest

from yolact.config.training import TrainingConfig
from yolact.errors import UsageError
from yolact.training.loader import ShuffledBatches, training_loader


def first(number, images, size, seed=0, start=0, **share):
    batches = ShuffledBatches(images, size, seed, **share)
    batches.start = start
    return list(islice(batches, number))


@pytest.mark.parametrize(("images", "size", "per_epoch"), [(10, 3, 3), (12, 4, 3), (2, 8, 1)])
def test_every_epoch_shows_each_image_once_at_most(images, size, per_epoch):
    assert ShuffledBatches(images, size, 0).batches_per_epoch == per_epoch
    for epoch in range(3):
        batches = first(per_epoch, images, size, start=epoch * per_epoch)
        assert {index.epoch for batch in batches for index in batch} == {epoch}
        positions = [index.position for batch in batches for index in batch]
        assert len(set(positions)) == len(positions) == min(per_epoch * size, images)


def test_order_changes_with_epoch_and_seed():
    assert [i.position for i in first(1, 50, 50)[0]] != [
        i.position for i in first(1, 50, 50, start=1)[0]
    ]
    assert first(1, 50, 50) != first(1, 50, 50, seed=1)
    assert first(4, 50, 8) == first(4, 50, 8)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 11])
def test_a_resumed_run_goes_on_with_the_next_batch(start):
    assert first(5, 13, 4, start=start) == first(start + 5, 13, 4)[start:]


def test_closing_is_a_matter_of_the_batch_number():
    batches = ShuffledBatches(13, 4, seed=0)
    batches.is_closing = lambda number: number >= 5
    flags = [{index.closing for index in batch} for batch in islice(batches, 9)]
    assert flags == [{False}] * 5 + [{True}] * 4
    batches.start = 4
    assert [batch[0].closing for batch in islice(batches, 3)] == [False, True, True]


@pytest.mark.parametrize(("images", "size", "processes"), [(13, 4, 2), (40, 12, 3), (6, 8, 2)])
def test_the_shares_of_all_processes_are_the_batch_of_one(images, size, processes):
    shares = [
        first(9, images, size, start=2, rank=rank, world_size=processes)
        for rank in range(processes)
    ]
    for whole, *parts in zip(first(9, images, size, start=2), *shares, strict=True):
        assert [index for part in parts for index in part] == whole
        assert len({len(part) for part in parts}) == 1


def test_workers_are_refused_where_they_would_wait_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("deep" * 20)))
    batches = ShuffledBatches(8, 4, seed=0)
    with pytest.raises(UsageError, match="TMPDIR"):
        training_loader([], batches, TrainingConfig(workers=1))
    training_loader([], batches, TrainingConfig(workers=0))
