"""What every command shares: a configuration composed by Hydra, and errors that say what to do.

    @command("translate", TranslateConfig)
    def main(config: TranslateConfig) -> None:
        \"\"\"Translate text with a trained run.

        A paragraph or two on what is read and what is written.

        Examples:
            reluformer-translate run=runs/embedded/reluformer-seed1 input=de.txt output=en.txt
            ...
        \"\"\"

`main()` then reads the command line, composes conf/translate.yaml, checks it against the dataclass
(registered in Hydra's store as `translate_schema`, which the yaml lists first in its defaults) and
runs. A yaml in a folder, such as conf/data_prep/pairs.yaml, starts with `# @package _global_` and
names groups from the root (`/data: embedded`).

The docstring is the text of `--help`; the comment behind a field of the dataclass, or behind a
line of a yaml, is that setting's meaning there. A nested dataclass field needs the default
`MISSING`, so that its `__post_init__` sees only finished values.

Exit codes: 0 done, 1 a defect of the toolkit, 2 wrong input or settings, 3 training failed, 130
interrupted; docs/failures.md says what is behind each.
"""

import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import is_dataclass
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.text import Text

from reluformer import __version__
from reluformer.cli.arguments import Arguments, parse_arguments
from reluformer.cli.catalogue import hydra_refusals, open_catalogue
from reluformer.cli.diagnosis import explain
from reluformer.cli.help import help_text
from reluformer.config.names import nearest
from reluformer.config.paths import config_dir
from reluformer.console import console
from reluformer.errors import UserError, is_out_of_memory, one_line

Config = TypeVar("Config")

REPLACE_OUTPUT = ("score", "translate")  # whose output is one file, of their own
DONE, DEFECT, WRONG_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


def command(
    name: str, schema: type[Config]
) -> Callable[[Callable[[Config], None]], Callable[[], None]]:
    """Make a function of a checked configuration into the command that conf/<name>.yaml sets up."""
    group, _, leaf = name.rpartition("/")
    ConfigStore.instance().store(
        name=f"{leaf}_schema", node=schema, group=group or None, package="_global_"
    )

    def decorate(function: Callable[[Config], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            status = run_command(name, schema, function, sys.argv[1:])
            if status:
                sys.exit(status)

        return main

    return decorate


def run_command(
    name: str, schema: type[Config], function: Callable[[Config], None], command_line: list[str]
) -> int:
    """Run one command to its end and return its exit code; nothing is raised but SystemExit."""
    try:
        end_on_signals()
        check_encoding(command_line)
        if "--version" in command_line:
            print(f"reluformer {__version__}")
        else:
            run_arguments(name, schema, function, parse_arguments(command_line, schema))
        if sys.stdout is not None:  # as it is where it was closed beforehand
            sys.stdout.flush()
    except UserError as error:
        report(str(error))
        return error.status
    except BrokenPipeError:
        # Whoever read our output has closed it; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is None and error.errno not in (ENOSPC, EDQUOT, EFBIG, EIO):
            return report_unexpected(error)
        if isinstance(error, FileExistsError):  # of a folder that was to be made
            report(f"{error.filename} is no folder, and a folder is to be there: name another")
        else:
            report(f"{error.filename or 'what was being written'}: {error.strerror}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return report_unexpected(error)
    return DONE


def report_unexpected(error: Exception) -> int:
    """Say what nobody has foreseen: too little memory, no compiler, or a defect; the exit code."""
    inner = getattr(error, "inner_exception", error)
    first = str(inner).partition("\n")[0] or type(inner).__name__
    if is_out_of_memory(error):
        report(f"memory does not suffice ({first})")
    elif type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        report(f"torch.compile failed ({first}): mend that, or run without it")
    else:
        return report_defect()
    return WRONG_INPUT


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does; who ignores them (nohup) goes on to."""
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # Windows has only the first
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)


def check_encoding(command_line: list[str]) -> None:
    """Raise UserError for what could not be written into a report, such as a name in Latin-1."""
    for word in command_line:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(
                f"{word!a} is not valid UTF-8: rename the file, or use a UTF-8 locale"
            ) from None


def run_arguments(
    name: str, schema: type[Config], function: Callable[[Config], None], arguments: Arguments
) -> None:
    """Print the help or run the command; what Hydra cannot compose is the user's to mend."""
    try:
        if arguments.help:
            print(help_text(name, schema, function, arguments))
        else:
            run_hydra(name, schema, function, arguments)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, name, function, arguments)) from error
    except yaml.YAMLError as error:
        raise UserError(f"a file of settings is not YAML: {one_line(str(error))}") from None


def run_hydra(
    name: str, schema: type[Config], function: Callable[[Config], None], arguments: Arguments
) -> None:
    """Let Hydra compose the configuration and run the function once, or once a job with -m."""
    task = Task(name, schema, function)
    application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)
    # In several jobs an error may be the function's own; of a single one the task keeps it.
    refusals = nullcontext() if arguments.multirun else hydra_refusals()
    with hydra_command_line(arguments.line(job_name=name)), refusals:
        application(task)()
    for failure in task.failures:
        raise failure


class Task:
    """What Hydra calls with the composed configuration.

    Launchers may send it to another process, which finds the function again by its name.
    """

    def __init__(self, name: str, schema: type[Any], function: Callable[[Any], None]) -> None:
        self.name = name
        self.schema = schema
        self.function = function
        self.failures: list[Exception] = []
        self.outputs: set[Path] = set()

    def __call__(self, config: DictConfig) -> None:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            number, overrides = HydraConfig.get().job.num, HydraConfig.get().overrides.task
            console.print(Text(f"job {number + 1}: {' '.join(overrides)}", style="bold"))
            checked = checked_config(config, self.name, self.schema)
            if self.name in REPLACE_OUTPUT:
                self.refuse_same_output(checked.output)
            return self.function(checked)
        try:
            refuse_sweep()
            self.function(checked_config(config, self.name, self.schema))
        except Exception as error:  # raised by run_hydra, past Hydra's own report of it
            self.failures.append(error)
        return None

    def refuse_same_output(self, output: str | None) -> None:
        """Raise UserError where a job would write what another of its sweep and process has."""
        if output is None:
            return
        if Path(output).resolve() in self.outputs:
            raise UserError(
                f"`output` {output} is that of another job of this sweep, and stays as it is: let "
                "it differ with what does, as in output='${KEY}.txt'"
            )
        self.outputs.add(Path(output).resolve())

    def __reduce__(self) -> tuple[Any, ...]:
        module = self.function.__module__
        if module == "__main__":  # by its real name, where it was started with -m
            spec = sys.modules[module].__spec__
            module = spec.name if spec is not None else module
        return find_task, (self.name, self.schema, module, self.function.__name__)


def refuse_sweep() -> None:
    """Raise UserError for a grid of values that a single run would pass over in silence."""
    if params := HydraConfig.get().sweeper.params:
        raise UserError(f"a grid of {', '.join(params)} was chosen: add -m to run once for each")


def find_task(name: str, schema: type[Any], module: str, function: str) -> Task:
    """The task of a command of this package, in another process."""
    return Task(name, schema, import_module(module).__dict__[function].__wrapped__)


def checked_config(config: DictConfig, name: str, schema: type[Config]) -> Config:
    """The composed configuration as its dataclass, whose `__post_init__` has agreed to it."""
    refuse_unknown(config, schema)
    checked = OmegaConf.to_object(config)
    if not isinstance(checked, schema):
        raise TypeError(f"conf/{name}.yaml must list the schema of {name} first in its defaults")
    return checked


def compose(
    name: str,
    function: Callable[..., None],
    schema: type[Config],
    overrides: list[str],
    config_dir: str | None = None,
) -> Config:
    """The settings that a command would run with, checked; `config_dir` is its --config-dir."""
    arguments = parse_arguments(overrides, schema)
    try:
        config = open_catalogue(name, config_dir).compose(arguments.overrides)
        with open_dict(config):
            del config["hydra"]
        return checked_config(config, name, schema)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, name, function, arguments)) from error


def config_dir_option() -> list[str]:
    """--config-dir as it was given to this command, for the commands that it starts."""
    sources = HydraConfig.get().runtime.config_sources
    added = [source.path for source in sources if source.provider == "command-line"]
    return ["--config-dir", added[0]] if added else []


def refuse_unknown(config: DictConfig, schema: Any, prefix: str = "") -> None:
    """Raise UserError at a key that `+key=value` added to a closed part: nothing would read it."""
    kinds = get_type_hints(schema)
    for key in map(str, config):
        if key not in kinds:
            raise UserError(f"there is no setting `{prefix}{key}`{nearest(key, kinds)}")
        value = config._get_node(key)
        if isinstance(value, DictConfig) and is_dataclass(kinds[key]) and not value._is_missing():
            refuse_unknown(value, kinds[key], f"{prefix}{key}.")


@contextmanager
def hydra_command_line(arguments: list[str]) -> Iterator[None]:
    """Give Hydra these arguments, and let its errors come to us instead of ending the process."""
    old_arguments, old_setting = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [sys.argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = old_arguments
        if old_setting is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = old_setting


def report(message: str) -> None:
    """Print one line `error: message` on standard error."""
    console.print(Text.assemble(("error: ", "bold red"), one_line(message)))


def report_defect() -> int:
    """Print the exception in flight, headed by whose fault it is."""
    console.print(
        Text(
            f"This is a defect of reluformer {__version__}, not of your input. Please report it to"
            " its maintainers, with your command and everything below.",
            style="bold red",
        )
    )
    traceback.print_exc()
    return DEFECT
