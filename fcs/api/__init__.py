"""The library from Python: load a model, give it pictures, get pictures."""

from fcs.api.call import Pictures, apply, load, sample
from fcs.api.tasks import inpaint, layers, restore, style, superres

__all__ = ["Pictures", "apply", "inpaint", "layers", "load", "restore", "sample", "style", "superres"]
