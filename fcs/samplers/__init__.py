"""Samplers: one file a family. A config names one by its class, or by its class name in lower case."""

from fcs.samplers.base import Sampler, ddim
from fcs.samplers.baselines import DDIM, Replacement
from fcs.samplers.ding import DING
from fcs.samplers.dps import DPS, LDPS
from fcs.samplers.freedom import FreeDoM
from fcs.samplers.inexact_newton import InexactNewton
from fcs.samplers.latino import LATINO
from fcs.samplers.mmps import MMPS
from fcs.samplers.mpgd import MPGD
from fcs.samplers.p2l import P2L
from fcs.samplers.prior import Prior
from fcs.samplers.projected_newton import ProjectedNewton
from fcs.samplers.psld import PSLD
from fcs.samplers.repaint import RePaint

__all__ = [
    "DDIM",
    "DING",
    "DPS",
    "LATINO",
    "LDPS",
    "MMPS",
    "MPGD",
    "P2L",
    "PSLD",
    "FreeDoM",
    "InexactNewton",
    "Prior",
    "ProjectedNewton",
    "RePaint",
    "Replacement",
    "Sampler",
    "ddim",
]
