"""The page itself, in gradio: what is asked for on it, and how what is made is shown."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: it must not call home
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import fastapi
import gradio as gr
import uvicorn
from PIL import Image
from starlette.requests import ClientDisconnect

from fcs.core.errors import UsageError, first_line
from fcs.models.base import Model
from fcs.tools.demo import wishes
from fcs.tools.demo.curve import curve
from fcs.tools.demo.free_port import free_port
from fcs.tools.demo.making import Stage, kept_exactly, making, title
from fcs.tools.demo.methods import CALLS, OURS, names
from fcs.tools.demo.wishes import Controls, Wish, wish_of

FONTS = ["system-ui", "sans-serif"]  # names alone: gradio's own theme would ask Google for its fonts
CSS, SCRIPT = ((Path(__file__).parent / f"page.{kind}").read_text() for kind in ("css", "js"))
Shown = tuple[Any, ...]  # picture, curve, words, slider, what was made before, file


def page(model: Model, name: str) -> gr.Blocks:
    """The page for a model.

    Args:
        model: the pretrained model.
        name: of it, as it was loaded.
    """
    pictures = wishes.shipped_pictures(name)
    first = next(iter(pictures))
    with gr.Blocks(title=f"fcs: {name}", analytics_enabled=False) as made:
        gr.Markdown(_heading(model, name))
        before = gr.State(None)
        with gr.Row():
            with gr.Column(min_width=300):
                asked = _asked(model, pictures, first)
            with gr.Column(min_width=300):
                told = _told()
        asked["picture"].change(
            lambda chosen: (wishes.shown(pictures[chosen].picture), pictures[chosen].prompt if model.prompted else ""),
            asked["picture"],
            [asked["editor"], asked["prompt"]],
            api_visibility="private",
        )
        inputs = [asked[name] for name in Controls._fields]
        click = asked["make"].click(
            _answer(model),
            [*inputs, before],
            [*told, before],
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )
        asked["stop"].click(None, cancels=[click], api_visibility="private")
        made.load(None, js=SCRIPT, api_visibility="private")
    return made


def _heading(model: Model, name: str) -> str:
    _, height, width = model.picture_shape
    sizes = "Holes are filled at a picture's own size, whatever that is."
    return f"# Paint a hole, watch it filled\n`{name}` on {model.device.type}: {width} x {height} pixels. {sizes}"


def serve(model: Model, name: str, host: str, port: int | None) -> None:
    """Serve the page until the process is interrupted; a free port from 7860 if None.

    By uvicorn itself: gradio's own way gives up where the machine is so busy that it takes seconds to start.

    Raises:
        UsageError: a port or an address that cannot be listened on.
    """
    port = free_port(host, port)
    theme = gr.themes.Base(font=FONTS, font_mono=["ui-monospace", "monospace"])
    quiet = {"footer_links": [], "enable_monitoring": False, "pwa": False, "ssr_mode": False, "mcp_server": False}
    made = page(model, name).queue()
    app = gr.mount_gradio_app(
        fastapi.FastAPI(), made, "", server_name=host, server_port=port, theme=theme, css=CSS, **quiet
    )
    print(f"http://{host}:{port}", flush=True)
    logging.getLogger("uvicorn.error").addFilter(_worth_saying)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)


def _worth_saying(record: logging.LogRecord) -> bool:
    """Whether a message of the server is more than that a visitor left, or was still there when it was ended."""
    gone = record.exc_info is not None and isinstance(record.exc_info[1], (asyncio.CancelledError, ClientDisconnect))
    return not gone and "timeout graceful shutdown exceeded" not in record.getMessage()


def _asked(model: Model, pictures: dict[str, wishes.Shipped], first: str) -> dict[str, Any]:
    white = gr.Brush(default_size=40, colors=["#ffffff"], default_color="#ffffff", color_mode="fixed")
    found: dict[str, Any] = {}
    found["picture"] = gr.Dropdown(list(pictures), value=first, label="A picture, or drop your own below")
    found["editor"] = gr.ImageEditor(
        wishes.shown(pictures[first].picture),
        type="pil",
        format="png",
        image_mode="RGBA",
        sources=("upload", "clipboard"),
        transforms=(),
        brush=white,
        layers=False,
        label="Paint the hole",
        elem_id="editor",
        buttons=[],
    )
    found["hole"] = gr.Radio(list(wishes.HOLES), value=wishes.PAINTED, label="Hole", elem_id="hole")
    found["task"] = gr.Radio(list(wishes.TASKS), value=wishes.INPAINT, label="Task", elem_id="task")
    prompted, text = model.prompted, pictures[first].prompt if model.prompted else ""
    found["prompt"] = gr.Textbox(text, label="Prompt", visible=prompted, elem_id="prompt", max_lines=2)
    found["calls"] = gr.Radio(list(CALLS), value=40, label="Denoiser calls at most", elem_id="calls")
    with gr.Row():
        found["method"] = gr.Dropdown(names(), value=OURS, label="Method", elem_id="method", min_width=220)
        found["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    with gr.Row():
        found["make"] = gr.Button("Make it", variant="primary", elem_id="make")
        found["stop"] = gr.Button("Stop", elem_id="stop")
    return found


def _told() -> list[Any]:
    picture = gr.Image(label="What is made", format="png", type="pil", interactive=False, elem_id="made", buttons=[])
    drawn = gr.HTML(elem_id="curve")
    words = gr.Markdown("Nothing yet.", elem_id="words")
    slider = gr.ImageSlider(
        label="Before and now", format="png", type="pil", interactive=False, elem_id="slider", buttons=[]
    )
    file = gr.DownloadButton("Save the picture", visible=False, elem_id="save")
    return [picture, drawn, words, slider, file]


def _answer(model: Model) -> Any:
    """What the button does: a generator of what is shown, for gradio."""

    def answer(*values: Any) -> Iterator[Shown]:
        *controls, before = values
        try:
            wish = wish_of(model.picture_shape, Controls(*controls))
            for stage in making(model, wish):
                yield _shown(wish, stage, before)
        except (UsageError, ValueError) as error:
            raise gr.Error(first_line(error), print_exception=False) from error

    return answer


def _shown(wish: Wish, stage: Stage, before: tuple[str, Image.Image] | None) -> Shown:
    drawn = curve(stage.residuals, stage.levels)
    made = wishes.overview(stage.picture)
    said = f"{title(wish)}: level {stage.level} of {stage.levels}, {stage.seconds:.1f} s"
    if not stage.done:
        return made, drawn, said, gr.skip(), gr.skip(), before
    given = wishes.overview(wish.picture if wish.hole is None else wishes.hidden(wish.picture, wish.hole))
    name, other = before if before is not None and before[1].size == made.size else ("given", given)
    kept = ", kept pixels exactly as given" if kept_exactly(stage.picture, wish) else ""
    said = f"{title(wish)}: {_pixels(stage.picture)}, {stage.calls} calls, {stage.seconds:.1f} s{kept}."
    said += f" Under the slider, left: {name}."
    other = other if other.size == made.size else other.resize(made.size)
    file = gr.DownloadButton(value=_file(stage.picture), visible=True)
    return made, drawn, said, (other, made), file, (title(wish), made)


def _file(picture: Image.Image) -> str:
    """A PNG of its own, below the system's temporary folder, where gradio serves files from."""
    path = Path(tempfile.mkdtemp(prefix="fcs-demo-")) / "picture.png"
    picture.save(path)
    return str(path)


def _pixels(picture: Image.Image) -> str:
    return f"{picture.width} x {picture.height} pixels"
