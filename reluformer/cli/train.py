"""reluformer-train: binary corpus to run folder."""

from reluformer.cli.app import command
from reluformer.config.train_run import train_run
from reluformer.config.training import TrainConfig


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    """Train a model on a preprocessed corpus; the same command again continues where it stopped.

    The run folder, runs/<data>/<name>-seed<seed>, holds the configuration, metrics.jsonl,
    tensorboard/, checkpoints/ and copies of the vocabularies. Ctrl-C saves and leaves. Several
    processes: torchrun --nproc-per-node 2 -m reluformer.cli.train ...
    attention=X sets all three sites, attention@model.cross_attention=X one; ffn=X likewise.

    Examples:
        reluformer-train experiment=iwslt14_de_en/reluformer
        reluformer-train data=embedded attention=entmax15 name=entmax15
        reluformer-train data=multi30k_en_de attention@model.cross_attention=softmax name=mixed
        reluformer-train experiment=embedded/softmax seed=2 train.max_updates=500
        reluformer-train data=europarl7_de_en initial_weights=runs/opendocs/reluformer-seed1
    """
    train_run(config)


if __name__ == "__main__":
    main()
