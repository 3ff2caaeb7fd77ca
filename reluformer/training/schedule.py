"""The learning rate, and lambda, as functions of the update."""

import math

from reluformer.training.options import OptimOptions


def learning_rate(options: OptimOptions, update: int, max_updates: int) -> float:
    """The rate of update 1, 2, ...: linear warm-up from 0, then the schedule.

    inverse_sqrt: peak * sqrt(warmup / update) (Vaswani et al. 2017, section 5.3, with fairseq's
    parameters); cosine: half a period down to `min_learning_rate` at `max_updates`; constant.
    Never below `min_learning_rate` after the warm-up.
    """
    peak, warmup = options.learning_rate, options.warmup_updates
    if update < warmup:
        return peak * update / warmup
    if options.schedule == "inverse_sqrt":
        rate = peak * math.sqrt(max(warmup, 1) / update)
    elif options.schedule == "cosine":
        done = min(1.0, (update - warmup) / max(1, max_updates - warmup))
        rate = options.min_learning_rate + (peak - options.min_learning_rate) * 0.5 * (
            1 + math.cos(math.pi * done)
        )
    else:
        rate = peak
    return max(rate, options.min_learning_rate)


def regulariser_weight(weight: float, warmup: int, update: int) -> float:
    """lambda at update 1, 2, ...: linear from 0 over `warmup` updates."""
    return weight * min(1.0, update / warmup) if warmup else weight
