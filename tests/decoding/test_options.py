"""Settings of the search that cannot be meant are refused, by name and value."""

import pytest

from reluformer.decoding.options import DecodeOptions
from reluformer.errors import UserError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be greater than 0, but is 0"),
        ({"beam_size": 10**9}, "`beam_size` must be at most 10,000, but is 1000000000"),
        ({"beam_size": 4, "n_best": 5}, r"`n_best` must not exceed `beam_size` \(4\), but is 5"),
        ({"length_penalty": -1.0}, "`length_penalty` must be 0 or greater, but is -1.0"),
        ({"max_len_b": -1}, "`max_len_b` must be 0 or greater, but is -1"),
        ({"sampling": True, "temperature": 0.0}, "`temperature` must be greater than 0, but is 0"),
        ({"sampling": True, "top_p": 1.5}, "`top_p` must be above 0 and at most 1, but is 1.5"),
        ({"top_k": 10}, "are for sampling only"),
    ],
)
def test_refused(settings, message):
    with pytest.raises(UserError, match=message):
        DecodeOptions(**settings)
