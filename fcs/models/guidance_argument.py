"""How a pipeline is told a scale of guidance of which 1 is none, found by its signature and its own properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fcs.core.errors import UsageError
from fcs.models.pipeline_fit import networks


@dataclass(frozen=True)
class GuidanceArgument:
    """The argument of a pipeline's call that takes the scale of guidance.

    Attributes:
        name: None where the call has none.
        embedded: whether the network was distilled with the scale as an input, so that 1 is no absence of it.
        none: the scale that is no guidance; 0 for pipelines that count from there.
    """

    name: str | None
    embedded: bool = False
    none: float = 1.0

    @classmethod
    def of(cls, pipe: Any, parameters: Sequence[str] | Mapping[str, Any]) -> Self:
        """That of a pipeline, whose call has these parameters."""
        if "true_cfg_scale" in parameters:
            return cls("true_cfg_scale")
        if "guidance_scale" not in parameters:
            return cls(None)
        configs: list[Any] = [network.config for network in networks(pipe).values()]
        if any(config.get("guidance_embeds") or config.get("time_cond_proj_dim") for config in configs):
            return cls("guidance_scale", embedded=True)
        return cls("guidance_scale", none=0.0 if _guides(pipe, 1.0) else 1.0)

    def arguments(self, scale: float) -> dict[str, float]:
        """Of the pipeline's call, for a ``scale`` of which 1 is none; an embedded one is then the pipeline's own."""
        if self.name is None or (self.embedded and scale == 1.0):
            return {}
        return {self.name: scale - 1.0 + self.none}

    def check(self, given: Mapping[str, Any]) -> None:
        """Check that nobody says the scale in another way.

        Raises:
            UsageError: ``model.arguments`` has it.
        """
        if self.name is not None and self.name in given and not self.embedded:
            value = given[self.name]
            shifted = "" if self.none == 1.0 else "; this pipeline's scale is less by 1, so guidance is that plus 1"
            raise UsageError.of(f"model.arguments.{self.name}", value, f"it as guidance{shifted}")


def _guides(pipe: Any, scale: float) -> bool:
    """Whether a pipeline runs the other branch of guidance at a scale, as far as it says so."""
    pipe._guidance_scale = scale
    try:
        return bool(pipe.do_classifier_free_guidance)
    except AttributeError:
        return False
