"""Classes are found where they lie: a new sampler or task is one new file and no edit elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fcs.samplers
import fcs.tasks
from fcs.core.discovery import classes
from fcs.engine.config.class_names import KINDS, shipped
from fcs.engine.config.key_help import describe
from fcs.samplers.base import Sampler
from fcs.tools.cli.predict import main

PULLED = '''
from fcs.samplers.base import ddim_step
from fcs.samplers.ddim import DDIM


class Pulled(DDIM):
    """DDIM with x_0 pulled towards grey.

    Args:
        pull: how far, 0 to 1.
    """

    def __init__(self, pull: float = 0.5) -> None:
        self.pull = pull

    def step(self, x, t, s, denoise, constraint, randn):
        return ddim_step(x, (1 - self.pull) * denoise(x, t), t, s, randn)
'''
RAW = '''
from fcs.tasks.inpaint import Inpaint


class Raw(Inpaint):
    """Inpainting that leaves the model's own picture."""

    def __init__(self) -> None:
        super().__init__(paste=False)
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One new file in either package, as if it lay beside the others."""
    monkeypatch.chdir(tmp_path)
    for package, name, text in ((fcs.samplers, "pulled", PULLED), (fcs.tasks, "raw", RAW)):
        (tmp_path / "new" / name).mkdir(parents=True)
        (tmp_path / "new" / name / f"{name}.py").write_text(text)
        package.__path__.append(str(tmp_path / "new" / name))
    yield
    for package, name in ((fcs.samplers, "pulled"), (fcs.tasks, "raw")):
        package.__path__.pop()
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


@pytest.mark.usefixtures("added")
def test_one_new_file_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", "digits_inpaint", "sampler=pulled", "sampler.pull=0.25", "task=raw", "out=o"]
    assert main([*arguments, "--print-config"]) == 0
    said = capsys.readouterr().out
    assert "class_path: fcs.samplers.Pulled" in said
    assert "pull: 0.25" in said
    assert "class_path: fcs.tasks.Raw" in said
    assert main([*arguments, "data.limit=2", "steps=2"]) == 0
    assert json.loads((tmp_path / "o" / "run.json").read_text())["settings"]["sampler"] == "fcs.samplers.Pulled"
    assert "with sampler=pulled:\n      sampler.pull  (a number; default 0.5)\n" in describe()
    assert fcs.samplers.Pulled().pull == 0.5
    assert "Pulled" in dir(fcs.samplers)


@pytest.mark.usefixtures("added")
def test_help_lists_what_was_added(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "with sampler=pulled:\n      sampler.pull  (a number; default 0.5)\n          how far, 0 to 1.\n" in said
    assert ", raw, " in said


@pytest.mark.usefixtures("added")
def test_a_mistyped_name_is_told_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "digits_inpaint", "sampler=puled"]) == 2
    assert "did you mean pulled?" in capsys.readouterr().err


def test_the_packages_offer_their_classes() -> None:
    from fcs.samplers import DPS, InexactNewton
    from fcs.tasks import Inpaint

    assert DPS.__module__ == "fcs.samplers.dps"
    assert fcs.samplers.InexactNewton is InexactNewton
    assert {"DPS", "InexactNewton", "Sampler"} <= {*dir(fcs.samplers)} & {*fcs.samplers.__all__}
    assert Inpaint.__name__ in fcs.tasks.__all__
    with pytest.raises(AttributeError, match=r"fcs\.samplers.*Newtn"):
        fcs.samplers.Newtn  # noqa: B018
    with pytest.raises(ImportError, match="Newtn"):
        from fcs.samplers import Newtn  # noqa: F401


def test_helper_classes_are_not_offered() -> None:
    for name in ("Prior", "ResidualTrace", "SamplingLoop", "Pipeline", "ABC"):
        assert name not in {*fcs.samplers.__all__, *fcs.tasks.__all__}
    assert not {"sampler", "prior", "inexactnewton"} & set(shipped("sampler"))
    assert not {"blur", "pixels", "operator"} & set(shipped("task.operator"))  # tensors cannot be written in a file


@pytest.mark.parametrize("where", KINDS)
def test_short_names_are_sorted_and_each_is_one_class(where: str) -> None:
    names = shipped(where)
    assert list(names) == sorted(names)
    assert len({*names.values()}) == len(names) >= 2
    if KINDS[where].package.startswith("fcs."):
        spoken = [name.lower() for name in classes(KINDS[where].package, KINDS[where].base)]
        assert len({*spoken}) == len(spoken)


def test_two_classes_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice").mkdir()
    for name in ("__init__", "one", "two"):
        (tmp_path / "twice" / f"{name}.py").write_text("from fcs.samplers.ddim import DDIM\nclass Twin(DDIM): ...")
    (tmp_path / "twice" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"Twin is in twice\.one and in twice\.two"):
        classes("twice", Sampler)
