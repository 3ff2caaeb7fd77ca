"""Parts of a visibility against the whole picture."""

import pytest
import torch

from reluformer.visibility import Visibility


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(7, 7), (7, 3), (3, 7), (4, 0)])
def test_a_part_sees_what_its_queries_saw(num_queries: int, num_keys: int, causal: bool) -> None:
    lengths = torch.tensor([num_keys, num_keys // 2]), torch.tensor([num_queries, 2])
    whole = Visibility(num_queries, num_keys, *lengths, causal)
    for begin in range(num_queries):
        for end in range(begin + 1, num_queries + 1):
            part = whole.part(begin, end)
            seen = torch.zeros(2, 1, end - begin, num_keys, dtype=torch.bool)
            seen[..., : part.num_keys] = part.dense
            wanted = whole.dense.expand(2, 1, -1, -1)
            wanted = wanted if wanted.shape[2] == 1 else wanted[:, :, begin:end]
            assert torch.equal(seen, wanted.expand_as(seen))
            assert torch.equal(part.query_is_real, whole.query_is_real[..., begin:end])
