"""What happens to text before the model's subwords and after them."""

from dataclasses import dataclass

from reluformer.data.moses import detokenise, tokenise
from reluformer.errors import UserError


@dataclass(frozen=True)
class Treatment:
    """Text as the user has it, to text as the model was trained on it, and back.

    `moses` and `lowercase` say what was done to the training text. With `input_tokenised` the
    input has been tokenised already; without `detokenise` the output stays in Moses tokens.
    """

    source_lang: str
    target_lang: str
    moses: bool = False
    lowercase: bool = False
    input_tokenised: bool = False
    detokenise: bool = True

    def __post_init__(self) -> None:
        if self.input_tokenised and not self.moses:
            raise UserError(
                "`input_tokenised` is true, but the model was trained on text that is not "
                "Moses-tokenised: give it plain text"
            )

        if not self.detokenise and not self.moses:
            raise UserError(
                "`detokenise` is false, but the model was trained on text that is not "
                "Moses-tokenised: its translations are plain text"
            )

    def prepare(self, line: str) -> str:
        if self.moses and not self.input_tokenised:
            line = tokenise(line, self.source_lang)
        return line.lower() if self.lowercase else line

    def restore(self, line: str) -> str:
        return detokenise(line, self.target_lang) if self.moses and self.detokenise else line
