"""Real servers on loopback: results in S3, shards from S3 and from a web server."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from helpers.ledgers import winners

from fcs.core.errors import StorageError
from fcs.shards.store.base import Store
from fcs.shards.store.open_store import open_store
from fcs.shards.store.remote import RemoteStore
from fcs.tools.cli import report, status
from fcs.tools.cli.predict import main

BUCKET = "bucket"
FOLDERS = ("shards", "metrics", "previews")
RUN = ["--config", "digits_inpaint", "steps=1", "data.limit=12", "data.batch_size=2", "data.workers=1"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """moto's standalone S3 with one bucket; the URL of the bucket."""
    server = pytest.importorskip("moto.server", reason="needs moto, flask and flask-cors").ThreadedMotoServer
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the run gives in a folder."""
    out = tmp_path_factory.mktemp("local") / "run"
    assert main([*RUN, f"out={out}"]) == 0
    return pictures(open_store(str(out)))


def pictures(out: Store) -> dict[str, bytes]:
    """The output tars and the names of all else; rows differ in times."""
    names = sorted(name for folder in FOLDERS for name in out.tree(folder))
    return {name: out.read(name) if name.endswith(".tar") else b"" for name in names}


class Served(SimpleHTTPRequestHandler):
    """Files of a folder, in ranges where those are asked for."""

    ranges: list[str]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        if asked is None:
            super().do_GET()
            return
        self.ranges.append(asked)
        data = Path(self.translate_path(self.path)).read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        stop = min(int(last or len(data) - 1), len(data) - 1) + 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - int(first)))
        self.end_headers()
        self.wfile.write(data[int(first) : stop])

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The URL of a web server's folder, and the ranges that were asked for."""
    handler = type("Handler", (Served,), {"ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.ranges
        finally:
            server.shutdown()
            thread.join()


def test_files_in_s3(s3: str) -> None:
    out = open_store(f"{s3}/files")
    assert isinstance(out, RemoteStore)
    assert out.exclusive
    assert out.create("a/b", b"0123456789" * 1000)
    assert not out.create("a/b", b"other")
    with out.replacing("a/c") as file:
        file.write(b"whole")
    with out.reading("a/b") as file:
        assert (file.seek(-3, 2), file.read()) == (9997, b"789")
    assert sorted(out.names("a")) == ["b", "c"]
    assert [out.exists(name) for name in ("a", "a/b", "a/d")] == [False, True, False]
    assert out.now("a/b") == pytest.approx(out.tree("a")["a/c"].modified, abs=30)
    out.delete("a/b", "a/none")
    assert out.read("a/c") == b"whole"
    assert out.names("a") == ["c"]


def test_of_many_creators_in_s3_one_wins(s3: str) -> None:
    out = open_store(f"{s3}/race")
    assert winners(out) == [out.read("a")]


def test_a_run_in_s3_that_is_interrupted_gives_the_same_bytes(
    s3: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{s3}/deep/run"
    out, create = open_store(url), RemoteStore.create

    def failing(self: RemoteStore, name: str, data: bytes, durable: bool = True) -> bool:
        if name.startswith("parts/") and len(self.tree("parts")) >= 3:
            raise StorageError(f"{self.where(name)}: link down")
        return create(self, name, data, durable)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "create", failing)
        assert main([*RUN, f"out={url}"]) == 74
    assert capsys.readouterr().err.splitlines()[-1].endswith("link down")
    assert len(out.tree("parts")) == 3
    assert status.main([url, "--array"]) == 0
    assert capsys.readouterr().out == "0-0\n"
    assert main([*RUN, f"out={url}"]) == 0
    found = pictures(out)
    assert {name: data for name, data in found.items() if not name.startswith("previews/")} == {
        name: data for name, data in whole.items() if not name.startswith("previews/")
    }
    assert not out.tree("parts")
    assert not out.tree("claims")
    assert any(name.startswith("previews/") for name in found)
    capsys.readouterr()
    assert status.main([url, "--json", "--verify"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["complete"], said["records"]["done"], said["out"]) == (True, 12, url)
    assert said["verify"] == {"files": 2, "differ": []}
    out.delete("summary.json")
    assert report.main([url]) == 0
    assert json.loads(out.read("summary.json"))["complete"]
    before = out.tree("shards")
    assert main([*RUN, f"out={url}"]) == 0
    assert out.tree("shards") == before


def test_a_bucket_that_is_not_there_is_one_line(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "out=s3://no-such-bucket/run"]) == 74
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("fcs-predict: "))
    assert line == "fcs-predict: s3://no-such-bucket/run/run.json: The specified bucket does not exist"
    assert status.main(["s3://no-such-bucket/run"]) == 2


def test_credentials_that_are_missing_are_one_line(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert main([*RUN, f"out={s3}/run"]) == 74
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("fcs-predict: "))
    assert line == f"fcs-predict: {s3}/run/run.json: Unable to locate credentials"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_shards_in_s3(s3: str, whole: dict[str, bytes], digits_shard: Path, tmp_path: Path) -> None:
    open_store(f"{s3}/in").replace("mixed.tar", digits_shard.read_bytes())
    assert main([*RUN, f"data.shards={s3}/in/*.tar", f"out={tmp_path}/o"]) == 0
    assert (tmp_path / "o" / "shards" / "mixed.tar").read_bytes() == whole["shards/mixed.tar"]


def test_shards_from_a_web_server(whole: dict[str, bytes], digits_shard: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.tar").write_bytes(digits_shard.read_bytes())
    with served(tmp_path) as (url, ranges):
        arguments = [*RUN, "data.limit=50", f"data.shards={url}/in/{{a,b}}.tar", f"out={tmp_path}/o"]
        assert main(arguments) == 0
        assert ranges
        asked = len(ranges)
        assert main(arguments) == 0
        assert len(ranges) == asked  # a complete run opens no shard
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["records"] == {"ok": 50, "failed": 0}


def test_results_in_memory(whole: dict[str, bytes]) -> None:
    """A store that fsspec can write and that cannot tell who was first."""
    assert main([*RUN, "out=memory://bucket/run"]) == 0
    out = open_store("memory://bucket/run")
    assert not out.exclusive
    assert pictures(out) == whole
    out.delete(*out.tree(""))
    assert not out.tree("")
