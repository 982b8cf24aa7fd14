"""Which images are drawn when, and that loading them in any way gives the same."""

from __future__ import annotations

import pytest
import torch

from posebench.data import loader, open_dataset
from posebench.data.base import PoseDataset
from posebench.data.loader import MicroBatch, MicroBatchSampler, Unreadable, micro_batches
from posebench.structures import Augment, Sample
from tests.builders import write_coco

AUGMENT = Augment(size=64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PoseDataset:
    """Return five images, of which the second has no people and the fourth is cut short."""
    root = tmp_path_factory.mktemp("data")
    write_coco(root, people=(1, 0, 2, 1, 1))
    image = root / "coco" / "train2017" / f"{4:012}.jpg"
    image.write_bytes(image.read_bytes()[:-500])
    return open_dataset("coco", "train", root=root)


# ------------------------------------------------------------------------------------------- plan


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4, 10, 11])
def test_every_image_is_drawn_once_an_epoch(micro_batch_size: int) -> None:
    indices = range(100, 110)
    passes = list(MicroBatchSampler(indices, micro_batch_size, seed=0, epochs=3).batches())
    for epoch in range(3):
        drawn = [index for chosen in passes for e, index in chosen if e == epoch]
        assert sorted(drawn) == list(indices)
    assert max(map(len, passes)) == min(micro_batch_size, 10)


def test_no_pass_mixes_epochs_and_their_number_is_known() -> None:
    plan = MicroBatchSampler(range(10), 4, seed=0, epochs=3)
    passes = list(plan.batches())
    assert plan.per_epoch == 3
    assert len(passes) == 9
    assert [{epoch for epoch, _ in chosen} for chosen in passes] == [{i // 3} for i in range(9)]


def test_the_order_is_the_seeds_and_another_one_each_epoch() -> None:
    plan = MicroBatchSampler(range(20), 20, seed=0, epochs=2)
    orders = [[index for _, index in chosen] for chosen in plan.batches()]
    assert orders[0] != orders[1]
    assert list(plan.batches()) == list(
        MicroBatchSampler(range(20), 20, seed=0, epochs=2).batches()
    )
    assert list(plan.batches()) != list(
        MicroBatchSampler(range(20), 20, seed=1, epochs=2).batches()
    )


@pytest.mark.parametrize("start", range(10))
def test_a_start_in_the_middle_gives_the_rest_of_the_whole(start: int) -> None:
    plan = MicroBatchSampler(range(10), 4, seed=3, epochs=3)
    assert list(plan.batches(start)) == list(plan.batches())[start:]


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = list(MicroBatchSampler(range(7), 2, seed=0, epochs=2).batches())
    assert list(MicroBatchSampler(range(7), 2, seed=0, epochs=5).batches())[: len(short)] == short


# ---------------------------------------------------------------------------------------- loading


def passes(
    dataset: PoseDataset, *, start: int = 0, workers: int = 0, size: int = 2
) -> list[MicroBatch]:
    plan = MicroBatchSampler(dataset.labelled(), size, seed=0, epochs=2)
    return list(micro_batches(dataset, AUGMENT, plan, start=start, workers=workers))


def test_images_without_people_are_not_drawn(dataset: PoseDataset) -> None:
    drawn = [i for p in passes(dataset) if p.batch for i in p.batch.image_ids]
    assert sorted(drawn) == [1, 1, 3, 3, 5, 5]


def test_an_unreadable_image_is_left_out_of_its_pass_and_named(dataset: PoseDataset) -> None:
    loaded = passes(dataset, size=4)
    assert [len(p.batch) if p.batch else 0 for p in loaded] == [3, 3]
    for p in loaded:
        (unreadable,) = p.unreadable
        assert unreadable.index == 3
        assert "000000000004.jpg is cut short" in unreadable.message


def test_a_pass_of_unreadable_images_has_no_batch(dataset: PoseDataset) -> None:
    empty = [p for p in passes(dataset, size=1) if p.batch is None]
    assert [[u.index for u in p.unreadable] for p in empty] == [[3], [3]]


def equal(one: MicroBatch, other: MicroBatch) -> bool:
    if one.batch is None or other.batch is None:
        return one == other
    return (
        one.unreadable == other.unreadable
        and one.batch.image_ids == other.batch.image_ids
        and one.batch.seeds == other.batch.seeds
        and torch.equal(one.batch.images, other.batch.images)
        and torch.equal(one.batch.masks[4], other.batch.masks[4])
        and torch.equal(one.batch.geometry.to_image, other.batch.geometry.to_image)
    )


def test_loading_from_the_middle_gives_the_rest_of_the_whole(dataset: PoseDataset) -> None:
    whole = passes(dataset)
    for start in range(len(whole) + 1):
        rest = passes(dataset, start=start)
        assert len(rest) == len(whole) - start
        assert all(map(equal, rest, whole[start:]))


def test_workers_load_what_the_main_process_would(dataset: PoseDataset) -> None:
    torch.manual_seed(1)
    alone = passes(dataset)
    torch.manual_seed(2)
    assert all(map(equal, passes(dataset, workers=2), alone))


def test_an_image_is_augmented_otherwise_in_the_next_epoch(dataset: PoseDataset) -> None:
    seeds = [s for p in passes(dataset) if p.batch for s in p.batch.seeds]
    assert len(set(seeds)) == len(seeds)


def test_an_images_augmentation_does_not_depend_on_its_pass(dataset: PoseDataset) -> None:
    def by_seed(size: int) -> dict[int, torch.Tensor]:
        return {
            seed: image
            for p in passes(dataset, size=size)
            if p.batch
            for seed, image in zip(p.batch.seeds, p.batch.images, strict=True)
        }

    one, four = by_seed(1), by_seed(4)
    assert one.keys() == four.keys()
    assert all(torch.equal(one[seed], four[seed]) for seed in one)


@pytest.mark.parametrize("workers", [0, 1])
def test_testing_yields_every_image_in_order(dataset: PoseDataset, workers: int) -> None:
    found = list(loader.eval_samples(dataset, range(len(dataset)), workers=workers))
    assert [item.image_id for item in found if isinstance(item, Sample)] == [1, 2, 3, 5]
    assert isinstance(found[3], Unreadable)
    assert found[3].index == 3
    assert "000000000004.jpg is cut short" in found[3].message
    first = found[0]
    assert isinstance(first, Sample)
    assert (first.image == dataset.load(0).image).all()
