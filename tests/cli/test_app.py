"""What the `command` decorator promises, on a made-up command with every kind of setting."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import MISSING

from reluformer import __version__
from reluformer.cli.app import command
from reluformer.cli.arguments import quote
from reluformer.cli.catalogue import parse
from reluformer.errors import UserError

CONF = {
    "demo": """
        defaults:
          - demo_schema
          - beam: wide
          - layer@first: linear
          - layer@second: linear
          - _self_
          - experiment: null
        input: ???
        output: null
        rate: 0.1  # of learning
        many: []
        fails: null
        """,
    "beam/wide": "size: 5  # hypotheses kept\n",
    "beam/narrow": "size: 1\n",
    "beam/none": "size: 0\n",
    "layer/linear": "# A plain layer\n_target_: some.Linear\nbias: 1.0  # added\n",
    "layer/bilinear": "_target_: some.Bilinear\nbias: 2.0\n",
    "experiment/broken": "# @package _global_\nraet: 0.5\n",
    "experiment/small/fast": """
        # @package _global_
        # The row of the table
        defaults:
          - override /beam: narrow
        rate: 0.5
        """,
}


@dataclass
class Beam:
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"`beam.size` must be at least 1, but is {self.size}")


@dataclass
class Demo:
    input: str
    output: str | None
    rate: float
    many: list[str]
    fails: str | None
    first: Any
    second: Any
    beam: Beam = MISSING


CompilerError = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
FAILURES = {
    "user": UserError("line 3 of my.de is no UTF-8"),
    "defect": ZeroDivisionError("division by zero"),
    "interrupt": KeyboardInterrupt(),
    "memory": RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nmore"),
    "compiler": CompilerError("InvalidCxxCompiler: No working C++ compiler found\nmore"),
    "fork": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "full": OSError(errno.ENOSPC, "No space left on device", "out.txt"),
}

seen: list[Demo] = []


@command("demo", Demo)
def main(config: Demo) -> None:
    """Do nothing, but show what it would be done with.

    A longer explanation.

    Examples:
        reluformer-demo input=text.de
        reluformer-demo input=text.de beam=narrow
        reluformer-demo experiment=small/fast input=text.de
    """
    seen.append(config)
    if config.fails:
        raise FAILURES[config.fails]


@pytest.fixture
def demo(run: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Runs the made-up command, whose configuration lies in a folder of its own."""
    for name, text in CONF.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.split("\n")
        indent = min((len(one) - len(one.lstrip()) for one in lines if one.strip()), default=0)
        path.write_text("\n".join(one[indent:] for one in lines).lstrip("\n"), encoding="utf-8")
    seen.clear()
    return lambda *arguments: run(main, *arguments, "--config-dir", str(tmp_path / "conf"))


def test_the_function_gets_the_dataclass(demo: Callable[..., Any]) -> None:
    outcome = demo("input=a.txt", "beam=narrow", "layer@second=bilinear", "many=[x,y]")
    assert outcome.code == 0, outcome.err
    (config,) = seen
    assert config == Demo(
        input="a.txt",
        output=None,
        rate=0.1,
        many=["x", "y"],
        fails=None,
        first={"_target_": "some.Linear", "bias": 1.0},
        second={"_target_": "some.Bilinear", "bias": 2.0},
        beam=Beam(1),
    )


def test_nothing_is_written_by_the_machinery(demo: Callable[..., Any]) -> None:
    demo("input=a")
    assert list(Path.cwd().iterdir()) == []


def test_an_experiment_overrides_groups_and_values(demo: Callable[..., Any]) -> None:
    assert demo("experiment=small/fast", "input=a").code == 0
    assert (seen[0].beam.size, seen[0].rate) == (1, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "my file,1.txt",
        "a=b",
        "größe/ß „x“.txt",
        "it's",
        '"quoted" twice',
        "(x)[y]{z}",
        "back\\",
        "C:\\new\\'s",
        "2024_01",
        "007",
        "1e3",
        "true",
        "choice(a,b)",
        "-",
        "#1",
        "a b  c",
        "",
    ],
)
def test_the_value_of_a_text_setting_is_taken_literally(
    demo: Callable[..., Any], text: str
) -> None:
    outcome = demo(f"input={text}", f"output={text}")
    assert outcome.code == 0, outcome.err
    assert (seen[0].input, seen[0].output) == (text, text)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@example("\\'")
@example("'\\\\")
@example("\\\\''\\")
def test_quoting_keeps_every_text(text: str) -> None:
    assert parse(f"key={quote(text)}").value() == text


def test_null_and_quoted_values_keep_their_meaning(demo: Callable[..., Any]) -> None:
    demo("input='null'", "output=null")
    assert (seen[0].input, seen[0].output) == ("null", None)


def test_options_may_stand_anywhere(demo: Callable[..., Any]) -> None:
    outcome = demo("input=a", "--cfg", "job", "rate=3", "--resolve")
    assert outcome.code == 0
    assert "input: a" in outcome.out
    assert "rate: 3.0" in outcome.out
    assert seen == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rat=1"], "reluformer-demo has no setting `rat`; did you mean rate?"),
        (["size=1"], "has no setting `size`; did you mean beam.size?"),
        (["beam.sise=1"], "has no setting `beam.sise`; did you mean beam.size"),
        (["first.bais=1"], "has no setting `first.bais`; did you mean first.bias?"),
        (["+other=1"], "there is no setting `other`"),
        (["++beam.sizes=1"], "there is no setting `beam.sizes`; did you mean size?"),
        (["qqq=1"], "has no setting `qqq` (--help lists them)"),
        (["baem=wide"], "has no setting `baem`; did you mean beam?"),
        (["beam=wild"], "group `beam` has no option `wild`; did you mean wide?"),
        (["beam=qqq"], "group `beam` has no option `qqq`; it has narrow, none, wide"),
        (["layer@first=liner"], "group `layer` has no option `liner`; did you mean linear"),
        (["layer=linear"], "no group `layer`; did you mean layer@first or layer@second?"),
        (["layer@frist=linear"], "has no group `layer@frist`; did you mean layer@first"),
        (["experiment=small/fats"], "has no option `small/fats`; did you mean small/fast?"),
        (["experiment=broken"], "`experiment=broken` does not fit "),
        (["rate=fast"], "`rate` must be a number, but is 'fast'"),
        (["rate="], "`rate` must be a number, but is ''"),
        (["rate=null"], "`rate` must have a value, but is null"),
        (["rate=[1"], "`rate` must be a number, but is '[1'"),
        (["beam.size=1.5"], "`beam.size` must be a whole number, but is '1.5'"),
        (["many=x"], "`many` must be a list: [a,b]"),
        (["rate=1,2"], "`rate=1,2` gives several values: add -m"),
        (["output=${nope}"], "`output` refers to `nope`, which is no setting"),
        (["beam=none"], "`beam.size` must be at least 1, but is 0"),
        (["fails=user"], "line 3 of my.de is no UTF-8"),
        (
            ["fails=compiler"],
            "torch.compile failed (InvalidCxxCompiler: No working C++ compiler found)",
        ),
        (["fails=fork"], "memory does not suffice ([Errno 12] Cannot allocate memory)"),
        (["fails=full"], "out.txt: No space left on device"),
        (
            ["fails=memory"],
            "memory does not suffice (DefaultCPUAllocator: can't allocate memory: 9",
        ),
        (["text.de"], "`text.de` is no setting: write key=value"),
        (["--hepl"], "there is no option --hepl; did you mean --help?"),
        (["--cfg", "jop"], "invalid choice: 'jop'"),
        (["--resolve"], "--resolve goes with --cfg"),
        (["-m", "--cfg", "job"], "only one of"),
    ],
)
def test_a_mistake_is_one_line(
    demo: Callable[..., Any], arguments: list[str], message: str
) -> None:
    assert message in demo("input=a", *arguments).error()


def test_a_missing_setting_comes_with_an_example(demo: Callable[..., Any]) -> None:
    assert demo().error() == "`input` must be given, for example input=text.de"


def test_a_missing_folder_of_options(run: Callable[..., Any]) -> None:
    assert "nowhere: there is no such folder" in run(main, "--config-dir", "nowhere").error()


def test_a_defect_says_so_and_shows_where(demo: Callable[..., Any]) -> None:
    outcome = demo("input=a", "fails=defect")
    assert outcome.code == 1
    assert outcome.err.startswith(f"This is a defect of reluformer {__version__}, not of your")
    assert "ZeroDivisionError: division by zero" in outcome.err


def test_an_interruption_is_quiet(demo: Callable[..., Any]) -> None:
    outcome = demo("input=a", "fails=interrupt")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


@pytest.mark.check("A4")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_as_an_interruption(
    demo: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert demo("input=a").code == 0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)  # as nohup has it
        assert demo("input=a").code == 0
        os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


def test_a_sweep_runs_every_job(demo: Callable[..., Any]) -> None:
    outcome = demo("-m", "input=a,b", "rate=1,2")
    assert outcome.code == 0, outcome.err
    assert [(one.input, one.rate) for one in seen] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert "job 4: input=b rate=2" in outcome.err


def test_a_failing_job_of_a_sweep_shows_in_the_exit_code(demo: Callable[..., Any]) -> None:
    outcome = demo("-m", "input=a", "fails=user,null")
    assert outcome.code == 2
    assert len(seen) == 2
    assert outcome.err.endswith("error: line 3 of my.de is no UTF-8\n")


def test_a_wrong_option_in_a_sweep_is_found(demo: Callable[..., Any]) -> None:
    assert (
        "has no option `wild`; did you mean wide?"
        in demo("-m", "input=a", "beam=wide,wild").error()
    )


def test_help_teaches(demo: Callable[..., Any]) -> None:
    outcome = demo("--help", "beam=narrow")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Do nothing, but show what it would be done with.")
    for line in (
        "Usage: reluformer-demo [group=option ...] [key=value ...]",
        "  reluformer-demo input=text.de beam=narrow",
        "  layer@first, layer@second",
        "  * linear                        A plain layer",
        "    small/fast                    The row of the table",
        "  * narrow",
        "    wide",
        "  input=(must be given)",
        "  output=null",
        "  rate=0.1                        of learning",
        "  first.bias=1.0                  added",
        "  beam.size=1",
    ):
        assert line in outcome.out.split("\n"), line
    assert "Exit codes: 0 done" in outcome.out


def test_help_with_a_wrong_choice_explains_it(demo: Callable[..., Any]) -> None:
    assert "did you mean narrow?" in demo("--help", "beam=narow").error()


def test_version(demo: Callable[..., Any]) -> None:
    assert demo("--version").out == f"reluformer {__version__}\n"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    program = "import os; os.rmdir(os.getcwd()); import reluformer.cli"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: the current folder is gone: go to one that is there\n"


@pytest.mark.parametrize(
    ("error", "first", "code"),
    [("KeyboardInterrupt", [], -signal.SIGINT), ("ValueError", ["Traceback"], 1)],
)
def test_an_interrupt_before_a_command_has_begun(error: str, first: list[str], code: int) -> None:
    """Its imports take seconds; an error there is a defect, and shown whole."""
    program = f"import reluformer.cli; raise {error}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stderr.split()[:1] == first
