"""A finished build as a PyTorch dataset, read through webdataset.

Shards are those of the index; each is read whole, from any fsspec URL, verified and expanded in memory.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
import webdataset as wds
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_iterator

from dentgen import storage
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.errors import SpecError
from dentgen.records import IMAGE_FORMATS
from dentgen.seeding import derive_seed, numpy_generator
from dentgen.shards import layout
from dentgen.shards.index_reader import finished_index, read_version
from dentgen.shards.reader import read_shard
from dentgen.shards.selection_file import Selection, selection_of

Sample = dict[str, Any]


def open_dataset(
    out: str,
    split: str | None = None,
    *,
    version: int | None = None,
    shuffle: int = 0,
    seed: int = 0,
    decode: bool = True,
    selection: str | None = None,
) -> ShardDataset:
    """Open a finished build as a PyTorch dataset; for ``DataLoader(open_dataset(OUT), batch_size=16)``.

    A sample is a dictionary of ``key`` (str), ``image`` (3, H, W) uint8, ``seg`` and ``fdi`` (H, W) uint8, the
    conditions that it was made from (``light``, ``curvature`` and ``lesion`` (H, W) uint8, ``normal`` (3, H, W) uint8,
    ``depth``, ``motion_x`` and ``motion_y`` (H, W) int32 from 16 bits) and ``metadata``: the sample's JSON as text,
    because the default collate function rejects lists of different lengths; ``json.loads`` it.

    Shards are divided among ranks (``torch.distributed`` if it is initialised, else RANK and WORLD_SIZE), then among
    the workers of a DataLoader: every sample once, in all. Neither is padded, so ranks may see different numbers of
    samples; a loop that communicates in every step should count its steps.

    Args:
        out: The build: a folder or any fsspec URL.
        split: Use only samples of this split; shards without any are not read. None takes all.
        version: Version of a dataset that grows; None: the latest. A version reads the same for good.
        shuffle: Samples in the shuffle buffer of each worker, which holds them encoded; then shards are shuffled as
            well. 0 keeps the order of the build.
        seed: Names the order together with the epoch (``set_epoch``), the rank and the worker.
        decode: False yields webdataset's own form: ``__key__``, ``__url__`` and the bytes of each member by extension
            ("seg.png").
        selection: File that ``dentgen select`` wrote: use only its samples, in the order of the build; shards without
            any are not read. None takes all.

    Raises:
        BuildError: If the build was not sealed; while iterating, if a shard is damaged or was replaced.
        SpecError: If there is no such split or version, ``shuffle`` is negative, or the selection is of another index.
        StorageError: If the index or the selection cannot be read.
    """
    if shuffle < 0:
        raise SpecError(key="shuffle", found=shuffle, expected="the size of a buffer, 0 for none")
    index = finished_index(out) if version is None else read_version(out, version)
    shards, num_samples = _shards_of_split(out, index, split)
    keys: frozenset[str] | None = None
    if selection is not None:
        chosen = selection_of(selection, out, index, _index_name(version))
        keys = frozenset(_of_split(out, chosen, split))
        names = {shard for key, shard in zip(chosen.keys, chosen.shards, strict=True) if key in keys}
        shards = tuple(shard for shard in shards if shard.name in names)
        num_samples = len(keys)
    return ShardDataset(out, shards, num_samples, split=split, shuffle=shuffle, seed=seed, decode=decode, keys=keys)


class ShardDataset(IterableDataset[Sample]):
    """Samples of a finished build; create it with ``open_dataset``.

    Attributes:
        shards: Shards that are read, of all ranks.
        num_samples: Samples of all ranks.
    """

    def __init__(
        self,
        out: str,
        shards: tuple[ShardEntry, ...],
        num_samples: int,
        *,
        split: str | None,
        shuffle: int,
        seed: int,
        decode: bool,
        keys: frozenset[str] | None = None,
    ) -> None:
        """Store what to read; nothing is opened before the first iteration."""
        self.shards, self.num_samples, self._keys = shards, num_samples, keys
        self._out, self._split, self._shuffle, self._seed, self._decode = out, split, shuffle, seed, decode
        # In shared memory, so that workers that outlive an epoch (persistent_workers) see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._parent: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order of the next iterations; every rank must set the same."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate once over this rank's and worker's share.

        Raises:
            StorageError: If a shard cannot be read.
            BuildError: If a shard is damaged or was replaced.
        """
        rank, world_size = self._place()
        # webdataset.split_by_node would ask here, in the worker; see _place.
        stages: list[Callable[..., Iterator[Any]]] = [
            partial(islice, self._ordered_shards(), rank, None, world_size),
            wds.split_by_worker,
            partial(_expand, self._out),
            group_by_keys,
        ]
        if self._keys is not None:
            stages.append(partial(filter, partial(_is_chosen, self._keys)))
        elif self._split is not None:
            stages.append(partial(filter, partial(_is_of_split, self._split)))
        if self._shuffle:
            stages.append(wds.shuffle(self._shuffle, initial=self._shuffle, seed=self._buffer_seed(rank)))
        if self._decode:
            stages.append(partial(map, decode_sample))
        return iter(wds.DataPipeline(*stages))

    def __getstate__(self) -> dict[str, Any]:
        """Carry the rank along: a spawned worker does not see its parent's process group."""
        return {**self.__dict__, "_parent": _rank_and_world_size() or self._parent}

    def _place(self) -> tuple[int, int]:
        """Rank and world size; in a spawned worker those of its parent."""
        parent = self._parent if get_worker_info() is not None else None
        return parent or _rank_and_world_size() or (0, 1)

    def _ordered_shards(self) -> list[ShardEntry]:
        if not self._shuffle:
            return list(self.shards)
        order = numpy_generator(self._seed, "shards", int(self._epoch)).permutation(len(self.shards))
        return [self.shards[position] for position in order]

    def _buffer_seed(self, rank: int) -> int:
        worker = get_worker_info()
        return derive_seed(self._seed, "samples", int(self._epoch), rank, 0 if worker is None else worker.id)


def decode_sample(sample: Sample) -> Sample:
    """Members of a sample by extension as tensors by name, bit for bit.

    Args:
        sample: ``__key__`` and bytes by extension.

    Returns:
        ``key``, ``image``, label maps and conditions as ``open_dataset`` says, ``metadata``.
    """
    decoded: Sample = {"key": sample["__key__"]}
    for extension, content in sample.items():
        if extension in IMAGE_FORMATS:
            decoded["image"] = _tensor(content)
        elif extension == "json":
            decoded["metadata"] = content.decode()
        elif not extension.startswith("__"):
            decoded[extension.removesuffix(".png")] = _tensor(content)
    return decoded


def _tensor(content: bytes) -> Tensor:
    """Pixels as (H, W) uint8 or (3, H, W) uint8; 16-bit ones as (H, W) int32, because torch barely supports uint16."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.array(image)
    if pixels.ndim == 3:
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32))


def _index_name(version: int | None) -> str:
    return layout.INDEX if version is None else layout.versioned(version, layout.INDEX)


def _of_split(out: str, selection: Selection, split: str | None) -> list[str]:
    """Keys of a selection that are of a split."""
    if split is None:
        return list(selection.keys)
    with storage.open_read(storage.join(out, layout.SAMPLES)) as file:
        table = pq.ParquetFile(file).read(["key", "split"], use_threads=False)
    of_split = set(table.filter(pc.equal(table["split"], split))["key"].to_pylist())
    return [key for key in selection.keys if key in of_split]


def _shards_of_split(out: str, index: DatasetIndex, split: str | None) -> tuple[tuple[ShardEntry, ...], int]:
    """Shards with samples of a split, and how many such samples there are."""
    if split is None:
        return index.shards, index.written
    samples = _samples_by_split(out, index)
    splits = sorted({name for name, _ in samples})
    if split not in splits:
        raise SpecError(file=storage.without_secrets(out), key="split", found=repr(split), expected=f"one of {splits}")
    shards = tuple(shard for shard in index.shards if (split, shard.name) in samples)
    return shards, sum(samples[split, shard.name] for shard in shards)


def _samples_by_split(out: str, index: DatasetIndex) -> dict[tuple[str, str], int]:
    """Written samples by split and shard, as the index says or, where it is of an earlier dentgen, the table."""
    if all(shard.splits for shard in index.shards):
        return {(split, shard.name): count for shard in index.shards for split, count in shard.splits.items()}
    with storage.open_read(storage.join(out, layout.SAMPLES)) as file:
        table = pq.ParquetFile(file).read(["split", "shard"], use_threads=False)
    rows = table.group_by(["split", "shard"]).aggregate([([], "count_all")]).to_pylist()
    # A table that is newer than the index has samples of shards that the index does not name; rejected ones have none.
    listed = {shard.name for shard in index.shards}
    return {(row["split"], row["shard"]): row["count_all"] for row in rows if row["shard"] in listed}


def _expand(out: str, shards: Iterable[ShardEntry]) -> Iterator[dict[str, Any]]:
    """Members of shards in webdataset's form; an empty one ends each shard.

    webdataset's own expander skips folders like ``__name__/``, which a key may contain.
    """
    for shard in shards:
        url = storage.join(out, layout.SHARDS, shard.name)
        for member in tar_file_iterator(io.BytesIO(read_shard(out, shard)), skip_meta=None):
            yield {**member, "__url__": url}
        yield {}


def _is_chosen(keys: frozenset[str], sample: Sample) -> bool:
    return sample["__key__"] in keys


def _is_of_split(split: str, sample: Sample) -> bool:
    return bool(json.loads(sample["json"])["split"] == split)


def _rank_and_world_size() -> tuple[int, int] | None:
    """Rank and world size of this process, None if nothing sets them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return None
