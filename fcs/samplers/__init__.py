"""Samplers: one file a family. A config names one by its class, or by its class name in lower case."""

from fcs.samplers.base import Sampler, ddim
from fcs.samplers.baselines import DDIM, Replacement
from fcs.samplers.newton import Newton

__all__ = ["DDIM", "Newton", "Replacement", "Sampler", "ddim"]
