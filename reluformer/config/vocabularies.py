"""Vocabularies of another corpus or run, taken for a corpus that they fit."""

from dataclasses import replace
from pathlib import Path

from reluformer.config.data import DataConfig
from reluformer.config.run import read_data
from reluformer.config.run_folder import CONFIG
from reluformer.data.corpus import MANIFEST, SIDES, Corpus
from reluformer.data.vocabulary import SIDE_FILES, Vocabulary
from reluformer.errors import UserError

TREATMENT = ("joint_vocabulary", "moses", "lowercase")  # what must be alike
LEARNT = (  # how they were learnt, which is no choice any more
    *("vocab_size", "character_coverage", "byte_fallback", "normalisation"),
    *("vocabulary_sentences", "vocabulary_seed"),
)

Vocabularies = dict[str, Vocabulary]  # by side


def take_vocabularies(data: DataConfig, overwrite: bool = False) -> tuple[DataConfig, Vocabularies]:
    """The vocabularies of `data.vocabulary_of`, each for its language, and how they were learnt.

    Nothing is taken where that is null. With `overwrite` the corpus' own are no substitute for
    those of an origin that is gone, as they are about to be replaced. Raises UserError for
    vocabularies of other languages, of text that was treated in another way, or of single
    sentences where there are documents.
    """
    if data.vocabulary_of is None:
        return data, {}
    folder = origin(data, data.vocabulary_of, overwrite)
    theirs, found = read_vocabularies(folder)
    for name in TREATMENT:
        if getattr(theirs, name) != getattr(data, name):
            value = str(getattr(theirs, name)).lower()
            raise UserError(
                f"the vocabulary of {folder} is for text with `data.{name}={value}`: set that too, "
                "or take another vocabulary"
            )
    if data.documents and any(one.separator is None for one in found.values()):
        raise UserError(
            f"the vocabulary of {folder} has no symbol between sentences, which `data.documents` "
            "needs: take that of a corpus with `data.documents=true`"
        )
    found = by_language(folder, theirs, found, data)
    return replace(data, **{name: getattr(theirs, name) for name in LEARNT}), found


def origin(data: DataConfig, vocabulary_of: str, overwrite: bool) -> Path:
    """Where the vocabularies are: the finished corpus itself has them, if the origin is gone."""
    there, own = Path(vocabulary_of), Path(data.binary)
    if not vocabulary_of or there.resolve() == own.resolve():
        raise UserError(
            f"`data.vocabulary_of` is '{vocabulary_of}', but must be the folder of another corpus, "
            "or of a run"
        )
    is_there = (there / CONFIG).is_file() or (there / MANIFEST).is_file()
    if is_there or overwrite or not (own / MANIFEST).is_file():
        return there
    its_origin = Corpus.open(own).manifest.data.get("vocabulary_of")
    return own if its_origin and Path(its_origin) == there else there


def read_vocabularies(folder: Path) -> tuple[DataConfig, Vocabularies]:
    """The vocabularies of a run or a prepared corpus, and the settings of its text."""
    if (folder / CONFIG).is_file():
        files = {side: Vocabulary.load(folder / file) for side, file in SIDE_FILES.items()}
        return read_data(folder), files
    if (folder / MANIFEST).is_file():
        corpus = Corpus.open(folder)
        vocabularies = (corpus.source_vocabulary, corpus.target_vocabulary)
        data = DataConfig.of_manifest(corpus.manifest.data)
        return data, dict(zip(SIDES, vocabularies, strict=True))
    raise UserError(f"{folder} is no corpus and no run (it has no {MANIFEST} or {CONFIG})")


def by_language(
    folder: Path, theirs: DataConfig, found: Vocabularies, data: DataConfig
) -> Vocabularies:
    """The vocabularies for the sides where their languages are now."""
    known = {theirs.source_lang: found["source"], theirs.target_lang: found["target"]}
    wanted = {"source": data.source_lang, "target": data.target_lang}
    for language in wanted.values():
        if language not in known:
            raise UserError(
                f"{folder} has vocabularies of {' and '.join(known)}, none of {language}: "
                "`data.vocabulary_of` must have one of each language"
            )
    return {side: known[language] for side, language in wanted.items()}
