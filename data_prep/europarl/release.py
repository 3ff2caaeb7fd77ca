"""What a user has of Europarl v7, and how it becomes plain files."""

import re
import shutil
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from archive import extract_chosen
from download import Download

from reluformer.console import console, progress_bar
from reluformer.errors import UserError

from .source import FILE_NAME, LANGS

Sources = dict[str, Path]  # "pairs" or "source": an archive; "pairs.de" and so on: file or folder

PAIRS = "europarl-v7.de-en"
PAIRS_MEMBER = re.compile(rf"(?:.*/)?{re.escape(PAIRS)}\.(de|en)")
SOURCE_MEMBER = re.compile(rf"(?:.*/)?txt/(de|en)/({FILE_NAME.pattern})")
# The archives are of 0.2 and 1.5 GB; the second unpacks to 21 languages.
MAX_PAIRS_BYTES, MAX_SOURCE_BYTES = 1_000_000_000, 5_000_000_000
MAX_UNPACKED_BYTES = 30_000_000_000
RELEASE_SPLITS = {"train": ("train",), "valid": ("valid", "dev"), "test": ("test",)}
RELEASE_NAMES = ("{name}.{lang}", "{name}.{lang}.gz", "concatenated_en2de_{name}_{lang}.txt")


def locate_pairs(given: str | None, download: Download) -> Sources:
    """The aligned files: as they are in a folder, or in an archive, given or downloaded."""
    path = Path(given) if given is not None else download.fetch()
    if not path.is_dir():
        return {"pairs": _existing("pairs", path)}
    files = {
        f"pairs.{lang}": _first(path, [f"{PAIRS}.{lang}", f"{PAIRS}.{lang}.gz"]) for lang in LANGS
    }
    found = {role: file for role, file in files.items() if file is not None}
    if len(found) < len(files):
        raise UserError(f"`pairs` names {path}, which lacks {PAIRS}.de or {PAIRS}.en")
    return found


def locate_source(given: str | None, download: Download) -> Sources:
    """The source texts: a folder for each language, or an archive, given or downloaded."""
    path = Path(given) if given is not None else download.fetch()
    if not path.is_dir():
        return {"source": _existing("source", path)}
    for folder in (path, path / "txt", path / "europarl" / "txt"):
        if all((folder / lang).is_dir() for lang in LANGS):
            return {f"source.{lang}": folder / lang for lang in LANGS}
    raise UserError(f"`source` names {path}, which has neither txt/de and txt/en nor de and en")


def locate_splits(folder: Path, names: Mapping[str, str | None]) -> dict[str, dict[str, Path]]:
    """The files of the document release by split and language, under the names they go by."""
    if not folder.is_dir():
        raise UserError(f"`folder` names {folder}, which is not a folder")
    files = {split: _split_files(folder, split, name) for split, name in names.items()}
    for one, other in combinations(files, 2):
        if files[one] == files[other]:
            console.print(f"warning: {one} and {other} are both {files[one][LANGS[0]].name}")
    return files


def _split_files(folder: Path, split: str, given: str | None) -> dict[str, Path]:
    names = RELEASE_SPLITS[split] if given is None else (given,)
    for name in names:
        for pattern in RELEASE_NAMES:
            files = {lang: folder / pattern.format(name=name, lang=lang) for lang in LANGS}
            if all(file.is_file() for file in files.values()):
                return files
    tried = " or ".join(
        f"{name}.{{de,en}} or concatenated_en2de_{name}_{{de,en}}.txt" for name in names
    )
    holds = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
    remedy = f"set splits.{split}=... to the name that they have there"
    raise UserError(f"no {tried} in {folder}; it holds {holds}; {remedy}")


def _existing(setting: str, path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"`{setting}` names {path}, which is neither a file nor a folder")
    return path


def _first(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def pair_files(sources: Sources, work: Path) -> dict[str, Path]:
    """The aligned file of each language, unpacked to `work` if it came in an archive."""
    if "pairs" not in sources:
        return {lang: sources[f"pairs.{lang}"] for lang in LANGS}
    folder = unpack(sources["pairs"], PAIRS_MEMBER, work / "pairs")
    return {lang: folder / lang / f"{PAIRS}.{lang}" for lang in LANGS}


def source_folders(sources: Sources, work: Path) -> dict[str, Path]:
    """The folder of each language's source texts, unpacked to `work` if they came in an archive."""
    if "source" not in sources:
        return {lang: sources[f"source.{lang}"] for lang in LANGS}
    folder = unpack(sources["source"], SOURCE_MEMBER, work / "source")
    return {lang: folder / lang for lang in LANGS}


def unpack(archive: Path, member: re.Pattern[str], folder: Path) -> Path:
    """Unpack the members of a name whose first group is the language, to <folder>/<language>.

    A folder that is there was unpacked whole. Raises UserError if a language has no members.
    """
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for lang in LANGS:
        (partial / lang).mkdir(parents=True)
    with progress_bar() as bar:
        task = bar.add_task(f"unpacking {archive.name}", total=None)

        def choose(name: str) -> Path | None:
            bar.advance(task)
            found = member.fullmatch(name)
            return partial / found[1] / Path(name).name if found else None

        written = extract_chosen(archive, choose, MAX_UNPACKED_BYTES)
    for lang in LANGS:
        if not any(path.parent.name == lang for path in written):
            raise UserError(f"{archive} holds nothing of the form {member.pattern} in {lang}")
    partial.rename(folder)
    return folder
