"""What may be written over, and what may not."""

from pathlib import Path

import pytest

from reluformer.durable import check_output, temporary, write_whole
from reluformer.errors import UserError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert not temporary(path).exists()


def test_inputs_folders_and_devices_are_no_outputs(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("text")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for output in ("link", "loop"):
        with pytest.raises(UserError, match="is a link"):
            check_output(tmp_path / output)
    for output in (source, tmp_path / "x" / ".." / "in"):
        with pytest.raises(UserError, match="are the same file"):
            check_output(output, [None, source])
    for output in (tmp_path, Path("/dev/null")):
        with pytest.raises(UserError, match="is no regular file"):
            check_output(output)
    check_output(tmp_path / "new", [source])
    check_output(source, [tmp_path / "other"])
