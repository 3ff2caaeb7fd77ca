"""reluformer-translate: text in, text out."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from reluformer.cli.app import command
from reluformer.config.run import load_run
from reluformer.config.translation import TranslateConfig, build_translator
from reluformer.console import console
from reluformer.decoding.files import Input, translate_file, translate_stream
from reluformer.decoding.formats import choose_format
from reluformer.decoding.translate import Translator
from reluformer.durable import write_whole
from reluformer.errors import UserError
from reluformer.threads import set_threads


@command("translate", TranslateConfig)
def main(config: TranslateConfig) -> None:
    """Translate text with a trained run: a file, standard input, or line by line at a prompt.

    One line in, one line out, in the same order; a blank line stays blank. Only LF ends a line:
    NUL and other control characters are characters that the model does not know. Text is treated
    as the run's training data was (Moses tokens, lower case, subwords) and detokenised at the end.
    While it is written, the output is called <output>.partial; the same command again continues it.

    A line `<d>` begins a document and stays as it is. A run that was trained on windows of
    documents translates windows; one whose translation has not as many sentences as its source is
    translated again in halves, so that there always is one line for each.

    Examples:
        reluformer-translate run=runs/embedded/reluformer-seed1 input=test.de output=test.en
        reluformer-translate run=runs/embedded/reluformer-seed1 decode=greedy < test.de > test.en
        reluformer-translate run=runs/embedded/reluformer-seed1 decode.n_best=3
        reluformer-translate run=R input=test.de output=out.jsonl format=jsonl decode.n_best=5
        reluformer-translate run=R input=test.de decode=sampling decode.top_k=10 decode.seed=7
        reluformer-translate run=R input=docs.de output=docs.en documents.overlap=2
    """
    set_threads(config.threads)
    if config.input is None and sys.stdin is None:
        raise UserError("standard input is closed: name an `input`")
    if config.output is None and sys.stdout is None:
        raise UserError("standard output is closed: name an `output`")
    prompting = config.input is None and config.output is None and sys.stdin.isatty()
    source = None
    if config.input is not None:
        reference = None if config.reference is None else Path(config.reference)
        source = Input.scan(Path(config.input), reference)
    if config.timing is not None:
        Path(config.timing).parent.mkdir(parents=True, exist_ok=True)
    form = choose_format(config.format, 1 if prompting else config.decode.n_best)
    run = load_run(config.run, config.checkpoint, config.device, tuple(config.allow))
    translator = build_translator(config, run)
    output = None if config.output is None else Path(config.output)
    if prompting:
        prompt(translator)
    elif source is not None:
        timing = translate_file(translator, source, form, config.buffer_lines, output)
        if config.timing is not None:
            values = {**asdict(timing), "lines_per_second": timing.lines_per_second}
            values["windows"]["length"] = translator.windows.length
            write_whole(Path(config.timing), (json.dumps(values) + "\n").encode())
    else:
        translate_stream(translator, sys.stdin.buffer, form, config.buffer_lines, output)


def prompt(translator: Translator) -> None:
    """Translate what is typed, line by line, until the end of input (Ctrl-D)."""
    languages = translator.treatment
    console.print(f"{languages.source_lang} to {languages.target_lang}; Ctrl-D ends")
    number = 1
    while True:
        try:
            line = input(f"{languages.source_lang}> ")
            line.encode()  # in some settings Python passes on bytes that it cannot read
        except EOFError:
            print()
            return
        except UnicodeError:
            raise UserError(f"line {number} is not valid UTF-8: set the terminal to it") from None
        for rendering in translator.translate([line], number)[0].renderings:
            print(f"{rendering.hypothesis.score:8.3f}  {rendering.text}")
        number += 1


if __name__ == "__main__":
    main()
