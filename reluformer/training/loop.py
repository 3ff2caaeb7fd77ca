"""Training from where it stands to its end: when to log, validate, save and stop."""

import math
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from reluformer.analysis.capture import measure_attention
from reluformer.console import console, progress_bar
from reluformer.data.batch import Batch
from reluformer.data.batching import BatchStream
from reluformer.data.stages import Stages
from reluformer.errors import UserError
from reluformer.model.compiling import compile_layers, uncompiled
from reluformer.training.checkpoint import (
    DamagedCheckpointError,
    Progress,
    checkpoint_path,
    load_training_state,
    numbered_checkpoints,
    save_checkpoint,
    save_last,
    saved_update,
)
from reluformer.training.failures import (
    MOST_HALVED,
    MOST_NOT_FINITE,
    find_not_finite,
    not_finite_error,
    too_many_halved_error,
)
from reluformer.training.loss import Criterion
from reluformer.training.metrics import MetricsLog, say
from reluformer.training.options import FitOptions, LossOptions, OptimOptions
from reluformer.training.parallel import Processes
from reluformer.training.schedule import learning_rate, regulariser_weight
from reluformer.training.signals import Stopped, StopRequest
from reluformer.training.update import UpdateResult, run_update
from reluformer.training.validation import Validation


class Training:
    """One run: what it needs, where it stands, and `fit`."""

    def __init__(
        self,
        run: Path,
        criterion: Criterion,
        stream: BatchStream | Stages,
        validation: Validation | None,
        processes: Processes,
        fit: FitOptions,
        optim: OptimOptions,
        loss: LossOptions,
        seed: int,
        stop: StopRequest,
    ) -> None:
        self.run = run
        self.criterion = criterion
        self.model = criterion.model
        self.stream = stream
        self.validation = validation
        self.processes = processes
        self.options, self.optim, self.loss, self.seed, self.stop = fit, optim, loss, seed, stop
        self.optimiser = adam(criterion, optim)
        self.micro_batches = fit.update_freq * processes.world_size
        # Updates of earlier stages, whose validations say nothing of what is learned after them.
        earlier = stream.batches if isinstance(stream, Stages) else 0
        self.before_last_stage = earlier // self.micro_batches
        self.progress = Progress(stream=stream.state_dict(), micro_batches=self.micro_batches)

    def resume(self) -> bool:
        """Continue from checkpoint_last if there is one, or from the one before if it is damaged.

        Raises UserError where both are, or where others are left without them.
        """
        last, previous = (checkpoint_path(self.run, name) for name in ("last", "previous"))
        if not (last.exists() or previous.exists()):
            others = sorted(last.parent.glob("checkpoint_*.safetensors"))
            if others and all(self._is_of_first_save(path) for path in others):
                return False  # within which it was killed, before there was a state to continue
            if others:
                raise UserError(
                    f"{last} is missing, but {others[0].name} is there: put it back to continue, "
                    f"or delete {last.parent} to start over"
                )
            return False
        fault = self._load(last) if last.exists() else f"{last} is missing"
        if self.processes.any(bool(fault)):  # all go back, if one must
            self._go_back(fault, last, previous)
        try:
            self.stream.load_state_dict(self.progress.stream)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                f"{last}: its position in the data is none of this training: delete {last.parent} "
                "to start over"
            ) from None
        if self.progress.micro_batches != self.micro_batches:
            raise UserError(
                f"{self.run}: an update had {self.progress.micro_batches} micro-batches and would "
                f"have {self.micro_batches}: keep processes times `train.update_freq` as it was"
            )
        return True

    def _is_of_first_save(self, path: Path) -> bool:
        intervals = [self.options.save_interval, self.options.max_updates]
        if self.validation:
            intervals.append(self.options.valid_interval)
        update = saved_update(path)
        return update is not None and update <= min(intervals)

    def _load(self, path: Path) -> str:
        """Take up the state at `path`, or say what damage it has."""
        try:
            self.progress = load_training_state(path, self.model, self.optimiser)
        except DamagedCheckpointError as error:
            return str(error)
        return ""

    def _go_back(self, fault: str, last: Path, previous: Path) -> None:
        """Take up the previous state; a damaged one keeps its content under another name."""
        if damage := self._load(previous) if previous.exists() else f"{previous} is missing":
            raise UserError(
                f"{fault}; {damage}: put one of them back to continue, or delete {last.parent} to "
                "start over"
            )
        aside = checkpoint_path(self.run, "damaged")
        fault = fault or f"{last}: another process cannot use it"

        def set_aside() -> None:
            if last.exists():
                last.replace(aside)
                console.print(f"{fault}: kept as {aside.name}")
            console.print(f"going on from {previous.name}, update {self.progress.update}")

        self.processes.on_first(set_aside)

    def fit(self) -> str:
        """Train to the end and say why it ended: `max_updates`, `patience` or `stopped`.

        `stopped` (by a signal) is not the end: the same command continues. Raises
        TrainingFailedError if gradients stay infinite or NaN, or memory is too small.
        """
        log = None
        if self.processes.is_first:
            log = MetricsLog(self.run, self.progress.update, self.progress.validation_due)
        if self.options.compile:
            compile_layers(self.model)
        wrapped = self.processes.wrap(self.criterion)
        try:
            with progress_bar() as bar:
                task = bar.add_task("training", total=self.options.max_updates)
                if self.progress.validation_due:
                    self._validate_and_save(log)
                while not (ended := self._ended()):
                    self._update(wrapped, log)
                    bar.update(task, completed=self.progress.update)
                    self._validate_and_save(log)
            if ended == "stopped":
                self._save_last()
            return ended
        finally:
            if log is not None:
                log.close()

    def _ended(self) -> str:
        """Why training ends here; nothing if it goes on."""
        if self.processes.any(self.stop.wanted):
            return "stopped"
        if self._out_of_patience():
            return "patience"
        return "max_updates" if self.progress.update >= self.options.max_updates else ""

    def _update(self, wrapped: torch.nn.Module, log: MetricsLog | None) -> None:
        started = time.perf_counter()
        update = self.progress.update + 1
        device = self.processes.device
        batches = [next(self.stream).to(device) for _ in range(self.options.update_freq)]
        rate = learning_rate(self.optim, update, self.options.max_updates)
        weight = regulariser_weight(
            self.loss.regulariser_weight, self.loss.regulariser_warmup, update
        )
        result = run_update(
            wrapped,
            self.optimiser,
            batches,
            self.processes,
            seed=self.seed,
            update=update,
            learning_rate=rate,
            regulariser_weight=weight,
            clip_norm=self.optim.clip_norm,
            precision=self.options.precision,
        )
        self.progress.update = update
        self.progress.stream = self.stream.state_dict()
        self._count(result, time.perf_counter() - started)
        self._judge(result, batches, weight)
        if update % self.options.log_interval == 0:
            self._log(log, rate, weight)
        if update % self.options.statistics_interval == 0 and log is not None:
            with uncompiled():
                found = measure_attention(self.model, batches[:1])
            log.write("attention", update, found)

    def _count(self, result: UpdateResult, seconds: float) -> None:
        self.progress.target_tokens += result.totals.target_tokens
        self.progress.training_seconds += seconds
        tokens = float(result.totals.target_tokens)
        sums = {"tokens": tokens, "seconds": seconds, "updates": 1.0}
        if result.stepped:  # what is not finite would hide all else in the means
            sums |= {name: value * tokens for name, value in result.losses.items()}
            sums |= {"gradient_norm": result.gradient_norm * tokens, "counted_tokens": tokens}
        else:
            sums["skipped"] = 1.0
        sums["halved"] = float(result.halvings > 0)
        window = self.progress.window
        for name, value in sums.items():
            window[name] = window.get(name, 0.0) + value

    def _judge(self, result: UpdateResult, batches: list[Batch], weight: float) -> None:
        """Count failures; those in a row take the weights back once, and then end training."""
        progress = self.progress
        halved = progress.halved_in_a_row + 1 if result.halvings else 0
        not_finite = 0 if result.stepped else progress.not_finite_in_a_row + 1
        progress.halved_in_a_row, progress.not_finite_in_a_row = halved, not_finite
        if halved >= MOST_HALVED:
            raise too_many_halved_error(self.options.max_tokens, result.halvings)
        if not_finite < MOST_NOT_FINITE:
            return
        if progress.went_back_to is not None or not self._take_weights_back():
            finding = find_not_finite(
                self.criterion,
                batches,
                result.totals,
                seed=self.seed,
                update=progress.update,
                regulariser_weight=weight,
                precision=self.options.precision,
                world_size=self.processes.world_size,
                rank=self.processes.rank,
            )
            rank = self.processes.rank
            path = self.run / (f"not_finite-{rank}.json" if rank else "not_finite.json")
            raise not_finite_error(path, finding, batches, progress.update, progress.went_back_to)

    def _take_weights_back(self) -> bool:
        """Take up the weights and moments of the newest checkpoint from before these failures.

        Data and schedule go on, so that other sentences follow (as Chowdhery et al. 2022, "PaLM",
        section 5.1, did at spikes of the loss). Returns whether there is such a checkpoint.
        """
        for name in ("last", "previous"):
            path = checkpoint_path(self.run, name)
            if path.exists():
                damaged = False
                try:
                    then = load_training_state(path, self.model, self.optimiser)
                except DamagedCheckpointError:
                    damaged = True
                # One of the last step or later has the weights of now.
                if self.processes.any(damaged):
                    continue
                if then.update < self.progress.update - MOST_NOT_FINITE:
                    self.progress.went_back_to = then.update
                    self.progress.not_finite_in_a_row = 0
                    if self.processes.is_first:
                        console.print(
                            f"the gradient was not finite for {MOST_NOT_FINITE} updates in a row: "
                            f"going on at update {self.progress.update} with the weights of update "
                            f"{then.update}"
                        )
                    return True
        return False

    def _log(self, log: MetricsLog | None, rate: float, weight: float) -> None:
        """Means over the target tokens since the last line, without the skipped updates.

        The sums are part of the progress, so that a resumed run loses none.
        """
        window = self.progress.window
        self.progress.window = {}
        if log is None:
            return

        def mean(name: str) -> float:
            return window.get(name, math.nan) / window.get("counted_tokens", 1.0)

        values = {
            "epoch": self.progress.stream["epoch"],
            "loss": mean("total"),
            "smoothed": mean("smoothed"),
            "nll": mean("nll"),
            "regulariser_normalisation": mean("normalisation"),
            "regulariser_entropy": mean("entropy"),
            "regulariser_weight": weight,
            "gradient_norm": mean("gradient_norm"),
            "skipped_updates": window.get("skipped", 0.0),
            "halved_updates": window.get("halved", 0.0),
            "learning_rate": rate,
            "tokens_per_second": window["tokens"] / window["seconds"],
            "tokens_per_update": window["tokens"] / window["updates"],
            "memory_mb": memory_in_use(self.processes.device),
        }
        log.write("train", self.progress.update, values)
        shown = ("epoch", "loss", "nll", "gradient_norm", "learning_rate", "tokens_per_second")
        say(self.progress.update, {name: values[name] for name in shown})

    def _validate_and_save(self, log: MetricsLog | None) -> None:
        update, options = self.progress.update, self.options
        at_end = update == options.max_updates
        validates = self.validation and (
            self.progress.validation_due or at_end or update % options.valid_interval == 0
        )
        saves = update % options.save_interval == 0
        if validates and not self._validate(log):
            return
        # Before the state that training continues from, so that none is missed.
        if saves and options.keep_checkpoints and not self.progress.not_finite_in_a_row:
            self.processes.on_first(self._save_numbered)
        # Nothing new is in a state after failures, and they may want one from before.
        if at_end or ((validates or saves) and not self.progress.not_finite_in_a_row):
            self._save_last()

    def _validate(self, log: MetricsLog | None) -> bool:
        """Validate on the first process, then let all agree on whether it was the best so far.

        Until the last stage has begun the newest is the best, so that patience begins behind it.
        Returns False where a stop came in between: then it is due when training continues.
        """
        report: dict[str, float] = {}
        progress, metric = self.progress, self.options.best_metric

        def validate() -> None:
            if self.validation is not None and log is not None:
                with uncompiled(), suppress(Stopped):
                    device = self.processes.device
                    report.update(self.validation.run(self.criterion, device, self.stop))
                    log.write("valid", progress.update, report)
                    said = f"[bold]{progress.update:>7}  valid[/bold]  {described(report)}"
                    console.print(said, markup=True)

        self.processes.on_first(validate)
        progress.validation_due = self.processes.any(self.processes.is_first and not report)
        if progress.validation_due:
            return False
        value = report.get(metric, 0.0) * (1 if metric == "bleu" else -1)  # higher is better
        value = -math.inf if math.isnan(value) else value
        own = torch.tensor(value, dtype=torch.float64, device=self.processes.device)
        value = float(self.processes.sum(own))
        of_earlier_stage = progress.best_update <= self.before_last_stage and value > -math.inf
        if progress.best_metric is None or of_earlier_stage or value > progress.best_metric:
            progress.best_metric = value
            progress.best_update = progress.update
            progress.validations_since_best = 0
            path = checkpoint_path(self.run, "best")
            self.processes.on_first(lambda: save_checkpoint(path, self.model, progress))
        else:
            progress.validations_since_best += 1
        return True

    def _out_of_patience(self) -> bool:
        patience = self.options.patience
        return bool(patience) and self.progress.validations_since_best >= patience

    def _save_last(self) -> None:
        self.processes.on_first(
            lambda: save_last(self.run, self.model, self.progress, self.optimiser)
        )

    def _save_numbered(self) -> None:
        path = checkpoint_path(self.run, str(self.progress.update))
        save_checkpoint(path, self.model, self.progress)
        for old in numbered_checkpoints(self.run)[: -self.options.keep_checkpoints]:
            old.unlink()


def adam(criterion: Criterion, options: OptimOptions) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) on every parameter."""
    return torch.optim.AdamW(
        criterion.parameters(),
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=True,
    )


def memory_in_use(device: torch.device) -> float:
    """Peak memory in MB: of the accelerator where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def described(report: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in report.items())
