"""Vocabularies of another corpus or run: each goes to its language, and only where it fits."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reluformer.config.data import DataConfig
from reluformer.config.vocabularies import take_vocabularies
from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import Corpus
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import find_texts, prepare_corpus
from reluformer.errors import UserError

TEXTS = {"de": "das Haus steht schön\nein Hund läuft\n", "en": "the house is nice\na dog runs\n"}


@pytest.fixture
def separate(tmp_path: Path) -> DataConfig:
    """A corpus, German to English, with a vocabulary for each."""
    text = tmp_path / "text"
    text.mkdir()
    for split in ("train", "valid"):
        for language, lines in TEXTS.items():
            (text / f"{split}.{language}").write_text(lines, encoding="utf-8")
    places = {"text": str(text), "binary": str(tmp_path / "binary")}
    data = DataConfig("x", "de", "en", **places, vocab_size=24, joint_vocabulary=False)
    options = VocabularyOptions(24, joint=False)
    prepare_corpus(find_texts(text, "de", "en"), tmp_path / "binary", asdict(data), options, LIMITS)
    return data


LIMITS = Limits(99)


def test_each_language_has_its_own(separate: DataConfig, tmp_path: Path) -> None:
    corpus = Corpus.open(separate.binary)
    wanted = {**asdict(separate), "binary": str(tmp_path / "new"), "vocab_size": 9_999}
    wanted["vocabulary_of"] = separate.binary
    for source, target in (("de", "en"), ("en", "de")):
        data, taken = take_vocabularies(
            DataConfig(**{**wanted, "source_lang": source, "target_lang": target})
        )
        assert data.vocab_size == 24
        by_language = {source: taken["source"].digest, target: taken["target"].digest}
        assert by_language["de"] == corpus.source_vocabulary.digest
        assert by_language["en"] == corpus.target_vocabulary.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moses": True}, "is for text with `data.moses=false`: set that too"),
        ({"lowercase": True}, "is for text with `data.lowercase=false`"),
        ({"joint_vocabulary": True}, "is for text with `data.joint_vocabulary=false`"),
        ({"documents": True}, "has no symbol between sentences"),
        ({"source_lang": "fr"}, "has vocabularies of de and en, none of fr"),
        ({"vocabulary_of": ""}, "must be the folder of another corpus"),
        ({"vocabulary_of": "nowhere"}, "nowhere is no corpus and no run"),
    ],
)
def test_what_does_not_fit_is_refused(
    changes: dict, message: str, separate: DataConfig, tmp_path: Path
) -> None:
    new = {"vocabulary_of": separate.binary, "binary": str(tmp_path / "new")}
    with pytest.raises(UserError, match=message):
        take_vocabularies(replace(separate, **{**new, **changes}))


def test_a_corpus_has_no_vocabulary_of_its_own_to_take(separate: DataConfig) -> None:
    with pytest.raises(UserError, match="must be the folder of another corpus"):
        take_vocabularies(replace(separate, vocabulary_of=f"{separate.binary}/."))


def test_a_joint_vocabulary_is_for_its_languages_only(separate: DataConfig, tmp_path: Path) -> None:
    joint = replace(separate, joint_vocabulary=True, binary=str(tmp_path / "joint"))
    texts = find_texts(Path(joint.text), "de", "en")
    prepare_corpus(texts, tmp_path / "joint", asdict(joint), VocabularyOptions(36), LIMITS)
    new = replace(joint, vocabulary_of=joint.binary, binary=str(tmp_path / "new"))
    take_vocabularies(replace(new, source_lang="en", target_lang="de"))
    with pytest.raises(UserError, match="none of fr"):
        take_vocabularies(replace(new, source_lang="fr"))


def test_a_finished_corpus_needs_the_other_no_more(separate: DataConfig, tmp_path: Path) -> None:
    new = replace(separate, vocabulary_of=separate.binary, binary=str(tmp_path / "new"))
    for _ in range(2):
        data, taken = take_vocabularies(new)
        prepare_corpus(
            find_texts(Path(new.text), "de", "en"),
            tmp_path / "new",
            asdict(data),
            VocabularyOptions(24, joint=False),
            LIMITS,
            taken=taken,
        )
        if Path(separate.binary).exists():
            Path(separate.binary).rename(tmp_path / "elsewhere")
    assert Corpus.open(tmp_path / "new").manifest.data["vocabulary_of"] == separate.binary
    with pytest.raises(UserError, match="is no corpus and no run"):
        take_vocabularies(new, overwrite=True)
