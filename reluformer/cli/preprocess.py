"""reluformer-preprocess: parallel text to a binary corpus."""

from dataclasses import asdict
from pathlib import Path

from reluformer.cli.app import command
from reluformer.config.data import DataConfig, PreprocessConfig
from reluformer.config.vocabularies import take_vocabularies
from reluformer.console import console
from reluformer.data.assembly import VocabularyOptions
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import find_texts, prepare_corpus
from reluformer.data.report import corpus_table, losses


@command("preprocess", PreprocessConfig)
def main(config: PreprocessConfig) -> None:
    """Turn parallel text into subword vocabularies and a binary, memory-mapped corpus.

    Reads {train,valid,test}.{source,target language} in `data.text`, one sentence a line (only
    LF ends a line), and writes `data.binary`. Training pairs that are empty on a side or too long
    are dropped and counted; validation and test sets keep every line. The same command again
    continues what was stopped and leaves alone what is finished.

    Examples:
        reluformer-preprocess data=iwslt14_de_en
        reluformer-preprocess data=multi30k_en_de data.vocab_size=8000 overwrite=true
        reluformer-preprocess data=custom data.name=mine data.source_lang=de data.target_lang=en
        reluformer-preprocess data=europarl7_de_en data.vocabulary_of=data/opendocs/binary
    """
    data, taken = take_vocabularies(config.data, config.overwrite)
    if taken:
        console.print(f"vocabulary of {data.vocabulary_of}, not learnt anew", markup=False)
    manifest = prepare_corpus(
        texts=find_texts(Path(data.text), data.source_lang, data.target_lang),
        folder=Path(data.binary),
        data=asdict(data),
        vocabulary=vocabulary_options(data),
        limits=Limits(data.max_length, data.too_long, data.max_ratio),
        workers=config.workers,
        overwrite=config.overwrite,
        taken=taken,
    )
    console.print(corpus_table(manifest))
    for line in losses(manifest):
        console.print(line)
    console.print(f"ready: {data.binary}", markup=False)


def vocabulary_options(data: DataConfig) -> VocabularyOptions:
    return VocabularyOptions(
        size=data.vocab_size,
        joint=data.joint_vocabulary,
        character_coverage=data.character_coverage,
        byte_fallback=data.byte_fallback,
        normalisation=data.normalisation,
        max_lines=data.vocabulary_sentences,
        seed=data.vocabulary_seed,
        documents=data.documents,
    )


if __name__ == "__main__":
    main()
