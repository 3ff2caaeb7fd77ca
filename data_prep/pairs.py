"""Any parallel text, line n of one file translating line n of the other, made ready for a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import steps
from omegaconf import MISSING
from output import Output, Report
from steps import Fate, Sides

from reluformer.cli.app import command
from reluformer.console import console
from reluformer.errors import UserError

NOT_IN_THE_TEXT = ("name", "source", "target", "folder", "workers", "overwrite")


@dataclass
class SplitNames:
    """What a folder's files are called before the language suffix."""

    train: str
    valid: str
    test: str


@dataclass
class PairsConfig:
    """Settings of data_prep/pairs.py; conf/data_prep/pairs.yaml explains each."""

    name: str
    source_lang: str
    target_lang: str
    source: str | None
    target: str | None
    folder: str | None
    extra_tests: list[str]
    valid_size: int
    test_size: int
    seed: int
    every_nth: int | None
    moses: bool
    lowercase: bool
    max_length: int | None
    max_ratio: float | None
    deduplicate: bool
    workers: int | None
    overwrite: bool
    splits: SplitNames = MISSING

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.source is None or self.target is None):
            raise UserError("give either `source` and `target` (two files) or `folder`")
        if self.source_lang == self.target_lang:
            raise UserError(f"`source_lang` and `target_lang` are both {self.source_lang!r}")
        for setting, least in (
            ("valid_size", 0),
            ("test_size", 0),
            ("every_nth", 2),
            ("max_length", 1),
            ("max_ratio", 1),
            ("workers", 1),
        ):
            value = getattr(self, setting)
            if value is not None and value < least:
                raise UserError(f"`{setting}` must be at least {least}, but is {value}")

    @property
    def langs(self) -> tuple[str, str]:
        return self.source_lang, self.target_lang


@command("data_prep/pairs", PairsConfig)
def main(config: PairsConfig) -> None:
    """Make any parallel text ready: clean, tokenise if asked, and split, or take given splits.

    Reads two files, plain or gzipped, or a folder that holds train, valid and test files. Writes
    data/<name>/text with train, valid and test, and prepare.json, which says how they were made.

    Examples:
        python data_prep/pairs.py source=a.de target=a.en name=mine source_lang=de target_lang=en
        python data_prep/pairs.py folder=multi30k name=multi30k source_lang=en target_lang=de
            splits.valid=val splits.test=test_2016_flickr moses=true lowercase=true
    """
    sources = find_folder_files(config) if config.folder else find_two_files(config)
    options = {key: value for key, value in asdict(config).items() if key not in NOT_IN_THE_TEXT}
    output = Output(config.name, "pairs", options, sources)
    fill = fill_from_folder if config.folder else fill_from_files
    report = output.make(partial(fill, config, sources), config.overwrite)
    steps.print_counts(report["counts"])
    console.print(f"prepared {output.folder}")


def find_two_files(config: PairsConfig) -> dict[str, Path]:
    files = {"source": Path(config.source or ""), "target": Path(config.target or "")}
    for setting, path in files.items():
        if not path.is_file():
            raise UserError(f"`{setting}` names {path}, which is not a file")
    return files


def find_folder_files(config: PairsConfig) -> dict[str, Path]:
    """`<split>.<lang>` -> file, where the split goes by the name it will have."""
    folder = Path(config.folder or "")
    if not folder.is_dir():
        raise UserError(f"`folder` names {folder}, which is not a folder")
    stems = asdict(config.splits) | {stem: stem for stem in config.extra_tests}
    return {
        f"{split}.{lang}": _find_file(folder, stem, lang, split)
        for split, stem in stems.items()
        for lang in config.langs
    }


def _find_file(folder: Path, stem: str, lang: str, split: str) -> Path:
    for path in (folder / f"{stem}.{lang}", folder / f"{stem}.{lang}.gz"):
        if path.is_file():
            return path
    there = sorted(path.name for path in folder.iterdir() if f".{lang}" in path.name)
    found = f"it holds {', '.join(there[:12])}" if there else f"nothing in it ends in .{lang}"
    remedy = f"set splits.{split}=... to the name before .{lang}"
    raise UserError(f"no {stem}.{lang} or {stem}.{lang}.gz in {folder}; {found}; {remedy}")


def fill_from_files(config: PairsConfig, sources: Mapping[str, Path], staging: Path) -> Report:
    """Judge all pairs, then draw valid and test; no held-out pair also stands in train."""
    sides, total = _open(config, staging, "all", (sources["source"], sources["target"]))
    lengths, digests = steps.measure(sides, total)
    fates = steps.judge_lengths(lengths, config.max_length, config.max_ratio)
    if config.deduplicate:
        steps.mark_duplicates(fates, digests)
    splits = {Fate.VALID: config.valid_size, Fate.TEST: config.test_size}
    if config.every_nth is not None:
        steps.split_every_nth(fates, config.every_nth, (Fate.VALID, Fate.TEST))
    else:
        kept = np.count_nonzero(fates == Fate.TRAIN)
        if kept <= sum(splits.values()):
            sizes = f"`valid_size` {config.valid_size} and `test_size` {config.test_size}"
            raise UserError(f"{sizes} leave nothing of the {kept} usable pairs to train on")
        steps.split_randomly(fates, splits, config.seed)
    steps.mark_leaked(fates, digests)
    counts: Report = {"read": total, "dropped": steps.count_dropped(fates)}
    for fate in (Fate.TRAIN, Fate.VALID, Fate.TEST):
        split, chosen = fate.name.lower(), fates == fate
        if chosen.any():
            counts[split] = steps.write_split(sides, staging, split, chosen, lengths)
    return counts


def fill_from_folder(config: PairsConfig, sources: Mapping[str, Path], staging: Path) -> Report:
    """Clean the training pairs; take valid and test as they are, and count those seen in train."""
    counts: Report = {}
    seen = np.empty(0, dtype=np.uint64)
    for split in ("train", "valid", "test", *config.extra_tests):
        files = tuple(sources[f"{split}.{lang}"] for lang in config.langs)
        sides, total = _open(config, staging, split, files)
        lengths, digests = steps.measure(sides, total)
        if split == "train":
            fates = steps.judge_lengths(lengths, config.max_length, config.max_ratio)
            if config.deduplicate:
                steps.mark_duplicates(fates, digests)
            counts |= {"read": total, "dropped": steps.count_dropped(fates)}
            chosen = fates == Fate.TRAIN
            if not chosen.any():
                raise UserError(f"no pair of {files[0]} and {files[1]} passes the filters")
            seen = digests[chosen]
        else:
            chosen = np.ones(total, dtype=bool)
        counts[split] = steps.write_split(sides, staging, split, chosen, lengths)
        if split != "train":
            counts[split]["pairs_also_in_train"] = int(np.isin(digests, seen).sum())
    return counts


def _open(
    config: PairsConfig, staging: Path, split: str, files: tuple[Path, ...]
) -> tuple[Sides, int]:
    """The two sides of a split, tokenised if asked for, and their number of lines."""
    return steps.open_sides(
        config.langs,
        (files[0], files[1]),
        work=staging / "work" / split,
        moses=config.moses,
        lowercase=config.lowercase,
        workers=config.workers,
    )


if __name__ == "__main__":
    main()
