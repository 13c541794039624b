"""Messages: one line that names what, where and what was expected."""

from fcs.core.errors import UsageError


def test_a_long_path_keeps_the_name_of_its_file() -> None:
    path = "/data/" + "folder/" * 30 + "data-00001-of-00002.arrow"
    line = str(UsageError.of("SOURCE", path, "a whole table"))
    assert line.startswith("SOURCE=/data/folder/")
    assert line.endswith("/data-00001-of-00002.arrow: expected a whole table")
    assert len(line) == len("SOURCE=: expected a whole table") + 80


def test_a_value_of_several_lines_is_one_line() -> None:
    assert str(UsageError.of("key", "a\nb", "one word")) == "key=a\\nb: expected one word"
