import json

import pytest

from imr.files import replacing, write_json, write_text


def test_what_was_written_takes_the_place_of_the_file(tmp_path):
    file = tmp_path / "a.json"
    write_text(file, "old")
    write_json(file, {"σ": [0.5]})
    assert json.loads(file.read_text(encoding="utf-8")) == {"σ": [0.5]}
    assert "σ" in file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as part:
        part.write_text("half")
        assert file.read_text() == "old"
        raise KeyboardInterrupt
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere" / "a.txt", "text")
