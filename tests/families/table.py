"""The tables of docs/models.md, from the tiny pipelines themselves: ``python -m families.table`` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from families.builders import FAMILIES
from fcs.models import pipeline_fit
from fcs.models.diffusers_pipeline import DiffusersPipeline


def families() -> Iterator[str]:
    """A row a family, as the adaptor sees it."""
    yield "| pipeline | network | predicts | its loop holds | `guidance` goes to | negative prompt |"
    yield "|---|---|---|---|---|---|"
    for build in FAMILIES.values():
        pipe = build()
        model = DiffusersPipeline(pipe, (32, 32))
        network = type(next(iter(pipeline_fit.networks(pipe).values()))).__name__
        guidance = model.calls.guidance
        cells = [
            type(pipe).__name__.removesuffix("Pipeline"),
            network,
            {"eps": "noise", "v": "v", "flow": "velocity"}[model.denoiser.predicts],
            held(model),
            f"`{guidance.name}`" + (" less 1" if guidance.none == 0 else ""),
            "yes" if "negative_prompt" in model.calls.parameters else "no",
        ]
        yield "| " + " | ".join(cells) + " |"


def held(model: DiffusersPipeline) -> str:
    """How the loop holds latents, in words."""
    packing = model.packing
    layout = {2: "tokens", 3: "the decoder's latents", 4: "a video of one frame"}[len(packing.packed_shape)]
    return layout + (", scaled by channel" if packing.scale.unique().numel() > 1 else "")


def refused() -> Iterator[str]:
    """What does not fit although it has all parts."""
    yield "| pipelines | why not |"
    yield "|---|---|"
    for beginning, reason in pipeline_fit.UNFIT.items():
        yield f"| `{beginning}...` | {reason} |"


if __name__ == "__main__":
    print("\n".join([*families(), "", *refused()]))
