"""Hostile input: nothing of it is executed, nothing is written outside OUT, and what is shown does nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.broken_input import END, good, member, png_of, record, special, with_chunk

import fcs
from fcs.shards.input import record_index
from fcs.shards.input.sources import listed_sizes, resolve
from fcs.tools.cli.predict import main

STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn"}
WEIGHTS = Path(fcs.__file__).parent / "weights" / "digits-16"


class Watch:
    """What the interpreter says it does: programs started, files opened for writing. A hook cannot be removed."""

    on = False
    started: list[str]
    written: list[Path]

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        if event in STARTS:
            self.started.append(f"{event} {arguments}")
        elif event == "open" and isinstance(arguments[0], str) and int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
            self.written.append(Path(arguments[0]).absolute())


WATCH = Watch()
sys.addaudithook(WATCH)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    WATCH.on, WATCH.started, WATCH.written = True, [], []
    yield WATCH
    WATCH.on = False


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Touch:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line of a refused command; the libraries that read models may have said something before."""
    assert main(["--config", "digits_inpaint", *arguments]) == 2
    streams = capsys.readouterr()
    assert not streams.out or re.fullmatch(
        r"1 shard to .* network calls a record\n", streams.out
    )  # where it takes long
    line = streams.err.splitlines()[-1]
    assert line.startswith("fcs-predict: ")
    return line


def malicious(outside: Path) -> bytes:
    """A shard whose every record but the first wants something."""
    bomb = pickle.dumps(Touch(outside / "pwned"))
    names = ("pkl", "pyd", "pth", "pickle", "pt", "cls", "npy", "bin")
    blocks = good("good", 0) + record("pickles", **dict.fromkeys(names, bomb))
    for place in (str(outside / "absolute"), "../../outside/up", "a/../../../outside/up", "..\\outside/up"):
        blocks += record(place)
    for number, kind in enumerate((b"1", b"2", b"3", b"4", b"6")):
        blocks += special(kind)(f"special{number}")
    link = member("folder", kind=b"2", linkname=str(outside))
    blocks += link + record("folder/through")
    for key in ("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "two\nlines", "fcs-predict: all done\r", "txt\u202egnp"):
        blocks += record(key)
    blocks += record("bomb of pixels", png=png_of(60000, 60000)) + record("bomb of text", txt=b"a" * (1 << 20))
    chunk = with_chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(8 << 20)))
    blocks += record("bomb of lists", json=b"[" * 99999) + record("bomb in a chunk", png=chunk)
    blocks += record("a program", png=b"%!PS\n(/etc/passwd) (r) file")
    return blocks + member("x", b"1" * (60 << 10), b"x") + record("last") + END


def test_a_malicious_shard(here: Path, watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in", "outside"):
        (here / name).mkdir()
    (here / "in" / "bad.tar").write_bytes(malicious(here / "outside"))
    (here / "in" / "sizes.json").write_text(json.dumps({"bad.tar": 10**20, "pipe:touch pwned": 1, "../up.tar": 2}))
    before = sorted(here.rglob("*"))
    out = here / "out"
    watch.written.clear()
    assert main(["--config", "digits_inpaint", "data.shards=in/*.tar", "out=out", "steps=1", "copy_inputs=true"]) == 3
    assert watch.started == []
    assert [path for path in watch.written if not path.is_relative_to(out) and path != Path(os.devnull)] == []
    assert sorted(path for path in here.rglob("*") if not path.is_relative_to(out)) == before
    told = capsys.readouterr().err.rpartition("\x1b[A")[2]  # behind the progress bar
    assert all(line.isprintable() for line in told.split("\n"))
    rows = pq.read_table(out / "metrics" / "bad.parquet").to_pylist()
    assert [row["key"] for row in rows if row["error"] is None] == ["good", "pickles", "folder/through"]
    assert rows[-1]["error"].startswith("truncated: ")
    assert all(row["error"].isprintable() and (row["key"] or "").isprintable() for row in rows if row["error"])
    with tarfile.open(out / "shards" / "bad.tar") as tar:
        assert all(info.isreg() for info in tar.getmembers())
        assert {name.partition(".")[0] for name in tar.getnames()} == {"good", "pickles", "folder/through"}
        assert not any(name.endswith((".pkl", ".pth", ".pyd")) for name in tar.getnames())


COMMANDS = ["pipe:touch pwned", " PIPE:touch pwned", "{pipe:touch,} pwned.tar", "x::pipe:touch pwned"]


@pytest.mark.parametrize("shards", COMMANDS)
def test_commands_are_no_shards(shards: str, here: Path, watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.shards=" in refused(capsys, f"data.shards={shards}")
    assert watch.started == []
    assert list(here.iterdir()) == []


def test_a_pipe_is_not_waited_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(here / "a.tar")
    assert "a regular file" in refused(capsys, "data.shards=*.tar")


NINES = f'{{"a.tar": {"9" * 9999}}}'


@pytest.mark.parametrize("text", ["[" * 99999, '{"a.tar": 1e999}', NINES, '{"a.tar": -1}', "\xff", ""])
def test_a_table_of_sizes_is_only_a_table(text: str, here: Path) -> None:
    (here / "a.tar").write_bytes(END)
    (here / "sizes.json").write_bytes(text.encode("latin-1"))
    assert listed_sizes(resolve("a.tar")) == [None]


def test_an_index_is_bounded(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcs.shards.input.tar_members.MOST", 9)
    index = record_index.index(io.BytesIO(b"".join(good(key, 0) for key in "abc") + END))
    assert [entry.key for entry in index.entries] == ["a", "b", "c"]
    assert index.truncated == "more than 9 members"


# Configurations


TAGS = ["!!python/object/apply:os.mkdir [pwned]", "!!python/name:os.mkdir", "!!python/module:antigravity"]


@pytest.mark.parametrize("tag", TAGS)
def test_a_file_makes_no_objects(tag: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "theirs.yaml").write_text(f"out: {tag}\n")
    assert "could not determine a constructor" in refused(capsys, "--config", "theirs.yaml")
    assert [path.name for path in here.iterdir()] == ["theirs.yaml"]


@pytest.mark.parametrize("text", ["[" * 400 + "]" * 400, "{a: " * 3000 + "}" * 3000, "9" * 5000])
def test_a_file_that_is_a_bomb(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "theirs.yaml").write_text(f"seed: {text}\n")
    refused(capsys, "--config", "theirs.yaml")


MODULE = """
import os
os.mkdir("pwned")
from fcs.tasks import Inpaint
class Task(Inpaint):
    pass
"""
PLACES = {
    "task: theirs_in_security.Task": "task",
    "task: {class_path: theirs_in_security.Task}": "task",
    "task: {class_path: '${data.prompt}'}\ndata: {prompt: theirs_in_security.Task}": "task",
    "task: {class_path: restore, operator: theirs_in_security.Task}": "task.operator",
    "sampler: theirs_in_security.Task": "sampler",
    "sampler: {direction: {class_path: theirs_in_security.Task}}": "sampler.direction",
    "sampler: {class_path: newton, step_sizes: [{class_path: theirs_in_security.Task}]}": "sampler.step_sizes",
    "data: {shards: {class_path: theirs_in_security.Task}}": "data.shards",
}


@pytest.fixture
def theirs(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a trace when it is imported."""
    (here / "theirs_in_security.py").write_text(MODULE)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield here
    sys.modules.pop("theirs_in_security", None)


@pytest.mark.parametrize("text", PLACES)
def test_a_file_imports_nothing(text: str, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (theirs / "theirs.yaml").write_text(text)
    line = refused(capsys, "--config", "theirs.yaml", "--allow-imports", "theirs,theirs_in_security.inner")
    assert f"{PLACES[text]}=theirs_in_security.Task: expected a class of fcs" in line
    assert "--allow-imports theirs_in_security" in line
    assert not (theirs / "pwned").exists()


LEAVE = {
    "the option": ["--config", "theirs.yaml", "--allow-imports", "theirs_in_security"],
    "the option, with others": [
        "--config",
        "theirs.yaml",
        "--allow-imports=other",
        "--allow-imports=a.b,theirs_in_security",
    ],
    "the command line": ["task=theirs_in_security.Task"],
    "the command line, in full": ["--task.class_path=theirs_in_security.Task"],
    "the command line over a file": ["--config", "theirs.yaml", "task=theirs_in_security.Task"],
}


@pytest.mark.parametrize("how", LEAVE)
def test_who_names_the_package_may_import_it(how: str, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (theirs / "theirs.yaml").write_text("task: theirs_in_security.Task")
    assert main(["--config", "digits_inpaint", *LEAVE[how], "--print-config"]) == 0
    assert "class_path: theirs_in_security.Task" in capsys.readouterr().out
    assert (theirs / "pwned").exists()


@pytest.mark.parametrize("value", ["", "a,,b", "a b", "os.", "../evil", "*"])
def test_what_is_no_package(value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--allow-imports=" in refused(capsys, "--allow-imports", value)


# Models


@pytest.fixture
def model(here: Path) -> Path:
    """The embedded digits model in a folder of its own."""
    shutil.copytree(WEIGHTS, here / "model")
    return here / "model"


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"])
def test_pickled_weights_are_refused(name: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for weights in model.glob("unet/*.safetensors"):
        weights.unlink()
    (model / "unet" / name).write_bytes(pickle.dumps(Touch(model.parent / "pwned")))
    assert "model.name=model" in refused(capsys, "model.name=model", "--dry-run")
    assert [path.name for path in model.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["model.bin", "model.ckpt", "model.pt", "model.safetensors"])
def test_a_pickled_checkpoint_is_refused(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / name).write_bytes(pickle.dumps(Touch(here / "pwned")))
    assert f"model.name={name}" in refused(capsys, f"model.name={name}", "--dry-run")
    assert [path.name for path in here.iterdir()] == [name]


def test_code_beside_weights_is_never_run(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("pipeline.py", "unet/modeling.py", "unet/unet_2d.py", "my_pipeline.py"):
        (model / place).write_text("import os\nos.mkdir('pwned')\nclass UNet2DModel: pass\nclass My: pass\n")
    own = {"unet/config.json": {"auto_map": {"AutoModel": "modeling.UNet2DModel"}, "trust_remote_code": True}}
    own["model_index.json"] = {"_class_name": ["my_pipeline", "My"], "custom_pipeline": "pipeline.py"}
    for name, keys in own.items():
        content = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**content, **keys}))
    assert main(["--config", "digits_inpaint", "model.name=./model", "--dry-run"]) == 0
    assert "1.4 M parameters" in capsys.readouterr().out
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "unet": ["my_pipeline", "My"]}))
    assert "model.name=./model" in refused(capsys, "model.name=./model", "--dry-run")
    assert not (model.parent / "pwned").exists()
