"""From a name to a model: an embedded one, a diffusers folder, a single-file checkpoint or a hub name."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from fcs.core.errors import UsageError, first_line
from fcs.models.base import Model
from fcs.models.family import Family, families, own_families
from fcs.models.files import Found
from fcs.models.options import PLAIN, Options
from fcs.models.textual_inversion import KEY as TEXTUAL_INVERSION

EMBEDDED = Path(__file__).parent.parent / "weights"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# Only what sampling needs, and of the weights only safetensors of one variant.
HUB_FILES = ["model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja"]
UNLOADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


def embedded() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in EMBEDDED.glob("*/model_index.json"))


def find(name: str, revision: str | None = None, variant: str | None = None) -> Found:
    """The files of a model; fetches them only for a hub name.

    Args:
        name: an embedded model, a folder, a checkpoint or a hub name.
        revision: of a hub name.
        variant: of the weights' files, such as ``fp16``.

    Raises:
        UsageError: a name that is none of the four kinds, without a network call; a hub name that cannot be fetched.
    """
    if name in embedded():
        return Found(name, EMBEDDED / name, variant=variant)
    # os.path answers where Path raises: for an unknown user's ~, for a name too long for the file system.
    path = Path(os.path.expanduser(name))
    if os.path.isfile(path / "model_index.json"):
        return Found(name, path, variant=variant)
    if os.path.isfile(path) and path.suffix == ".safetensors":
        return Found(name, path)
    if os.path.exists(path):
        raise UsageError.of("model.name", name, "a folder with model_index.json, or a .safetensors checkpoint")
    if HUB_NAME.fullmatch(name) and path.suffix != ".safetensors":
        return _fetch(name, revision, variant)
    kinds = "an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name with a /"
    raise UsageError.of("model.name", name, f"{kinds}; embedded: {', '.join(embedded())}", embedded())


def _fetch(name: str, revision: str | None, variant: str | None) -> Found:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES + weight_patterns(variant)))
    except Exception as error:  # the client raises its own, httpx's and the file system's
        reason = f"{type(error).__name__}: {first_line(error)}"
        expected = f"a folder here or a model that the hub gives ({reason})"
        raise UsageError.of("model.name", name, expected) from error
    return Found(name, folder, folder.name, variant)


def weight_patterns(variant: str | None) -> list[str]:
    """The files of weights that a hub is asked for, whole or in several files."""
    kind = f".{variant}" if variant else ""
    ends = dict.fromkeys([f"{kind}.safetensors", f"{kind}-*-of-*.safetensors", f"-*-of-*{kind}.safetensors"])
    return [f"*/{stem}{end}" for stem in ("diffusion_pytorch_model", "model") for end in ends]


def load(found: Found, autocast: torch.dtype | None = None, options: Options = PLAIN) -> Model:
    """Load a model, frozen, on the CPU.

    Args:
        found: its files.
        autocast: type for the network's own arithmetic, None for float32.
        options: what is wanted of it.

    Raises:
        UsageError: files that are no known model, or one that cannot do what is wanted.
    """
    family = family_of(found, options)
    if options.textual_inversion and not family.prompted:
        raise UsageError.of(TEXTUAL_INVERSION, options.textual_inversion[0], "none for this model, which reads no text")
    with _quiet(), _naming(found):
        return family.load(found, autocast, options).eval().requires_grad_(False)


def family_of(found: Found, options: Options = PLAIN) -> type[Family]:
    """The family, of all in this package, whose files these are; of a class and its subclass the latter.

    A family of its own goes before a general one, unless only that can do what is wanted.

    Raises:
        UsageError: it is none of them, or damaged.
    """
    known = families()
    with _naming(found):
        own = own_families(found)
        general = _general(known, found) if options.call or not own else []
    if options.call and own and not general:
        key, value = next(iter(options.call.items()))
        raise UsageError.of(key, value, "none for this model: it is for folders of diffusers text-to-image pipelines")
    fitting = general if options.call else own or general
    for kind in fitting:
        if not any(other is not kind and issubclass(other, kind) for other in fitting):
            return kind
    layouts = ", or ".join(dict.fromkeys(kind.layout for kind in known))
    unlike = "" if found.is_file else f"; found {found.index.get('_class_name')}"
    raise UsageError.of("model.name", found.name, layouts + unlike)


def _general(known: Sequence[type[Family]], found: Found) -> list[type[Family]]:
    """The general families that know these files. To look at a pipeline's class is to import it: seconds."""
    with _quiet():
        return [kind for kind in known if kind.general and kind.is_in(found)]


@contextmanager
def _naming(found: Found) -> Iterator[None]:
    """What the libraries raise of files that they cannot read becomes one line that names the model."""
    try:
        yield
    except UsageError:
        raise
    except UNLOADABLE as error:  # diffusers, transformers, safetensors: each raises its own
        raise UsageError.of("model.name", found.name, f"a model that loads ({first_line(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' own log held back: what they say of a broken model is raised too, and becomes our one line."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what the library will do to its own classes
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
