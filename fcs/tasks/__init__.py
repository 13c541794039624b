"""Tasks: one file each. A config names one by its class, or by its class name in lower case."""

from fcs.tasks.base import Task
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.layers import Layers
from fcs.tasks.restore import KnownPixels, Restore
from fcs.tasks.style import Style
from fcs.tasks.superres import Superres

__all__ = ["Inpaint", "KnownPixels", "Layers", "Restore", "Style", "Superres", "Task"]
