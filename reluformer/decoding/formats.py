"""How translations are written: plain text, JSON lines, or the lines of fairseq-generate."""

import json
import math
from collections.abc import Callable

from reluformer.decoding.translate import Translation
from reluformer.errors import UserError

Format = Callable[[Translation, str | None], str]


def choose_format(name: str, n_best: int) -> Format:
    """The function that writes one translation and, where there is one, its reference."""
    if name == "text" and n_best > 1:
        raise UserError(
            f"`decode.n_best` is {n_best}, but `format` text holds one line for each line: say "
            "`format=jsonl` or `format=fairseq`"
        )
    return FORMATS[name]


def as_text(translation: Translation, reference: str | None = None) -> str:
    """The best hypothesis; a blank line stays blank."""
    return translation.text + "\n"


def as_jsonl(translation: Translation, reference: str | None = None) -> str:
    """One object with all hypotheses; scores are natural logarithms (see Hypothesis).

    The mark of a document has its session (or "") as `document`, and no hypotheses.
    """
    record: dict[str, object] = {"line": translation.number, "source": translation.source}
    if translation.mark is not None:
        record["document"] = translation.mark.session
        return json.dumps(record, ensure_ascii=False) + "\n"
    if reference is not None:
        record["reference"] = reference
    if translation.dropped != 0:
        record["truncated"] = True
    record["hypotheses"] = [
        {
            "text": rendering.text,
            "score": rendering.hypothesis.score,
            "log_prob": rendering.hypothesis.log_prob,
            "pieces": rendering.pieces,
            "token_scores": rendering.hypothesis.token_scores,
        }
        for rendering in translation.renderings
    ]
    return json.dumps(record, ensure_ascii=False) + "\n"


def as_fairseq(translation: Translation, reference: str | None = None) -> str:
    """Lines S- (source), T- (reference), then for each hypothesis H-, D- (detokenised) and P-.

    As fairseq does it: sentences count from 0 and scores are logarithms to base 2. S- and H- are
    words, as after --remove-bpe; P- has a score for each piece and the end of sentence. Marks of
    documents are left out.
    """
    if translation.mark is not None:
        return ""
    number = translation.number - 1
    lines = [f"S-{number}\t{translation.prepared}"]
    if reference is not None:
        lines.append(f"T-{number}\t{reference}")
    for rendering in translation.renderings:
        score = rendering.hypothesis.score / math.log(2)
        scores = (f"{s / math.log(2):.4f}" for s in rendering.hypothesis.token_scores)
        lines.append(f"H-{number}\t{score}\t{rendering.tokenised}")
        lines.append(f"D-{number}\t{score}\t{rendering.text}")
        lines.append(f"P-{number}\t{' '.join(scores)}")
    if not translation.renderings:
        lines += [f"H-{number}\t0.0\t", f"D-{number}\t0.0\t", f"P-{number}\t"]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Format] = {"text": as_text, "jsonl": as_jsonl, "fairseq": as_fairseq}
