r"""Tunes emoji-64 for inpainting, as Stable Diffusion was: the upper anchor of comparisons.

    python jobs/train_inpaint.py --minutes 60 --out runs/emoji/inpaint      # interrupted: run it again
    fcs-bench compare --model emoji-64 --task inpaint-half --methods sd-inpaint,newton-k5 \
        --inpaint-model runs/emoji/inpaint/model --out runs/compare/anchor

The UNet is shown the mask and the latents of the masked picture besides x_t (nine channels); its input convolution and
low-rank changes of all other layers learn, on training glyphs under random masks. Writes OUT/inpaint.safetensors (the
changes, at most 2 MB), OUT/model (emoji-64 with them, a diffusers folder), OUT/inpaint.json (losses; before and after
on the same pictures) and OUT/inpaint.png (given, made, true). Reads what build_emoji.py made. Keeps a checkpoint every
minute and brings its learning rate to 0 within its minutes or steps.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from emoji.dataset import Dataset
from emoji.grid import save_grid
from emoji.inpaint import BATCH, Loss, deltas, merged, random_masks, text_states, tunable, widened, write_model
from safetensors.torch import save_file
from training.fit import State, fit
from training.interruption import exit_when_asked
from training.plan import Budget, Plan, Rate, Setting

from fcs.bench.origin import origin
from fcs.core.collate import collate
from fcs.core.images import to_float, to_uint8
from fcs.core.records import Record
from fcs.models import find, load
from fcs.models.stable_diffusion import StableDiffusion
from fcs.samplers import DDIM
from fcs.tasks import Inpaint
from fcs.tasks.pipeline import Pipeline

CHECKED = 16  # batches of the losses before and after
SHOWN = 12


def train(dataset: Dataset, args: argparse.Namespace) -> tuple[Loss, UNet2DConditionModel, State]:
    """The loss, the mean of the tuned network's weights, and what was seen."""
    torch.manual_seed(args.seed)
    base = load(find("emoji-64"))
    assert isinstance(base, StableDiffusion)
    glyphs = dataset.indices("train")
    states = text_states(base, [dataset.entries[i].prompt for i in glyphs.tolist()])
    unet = tunable(widened(base.denoiser.network.unet), args.rank)
    loss = Loss(unet, base.vae, dataset.renderer(), glyphs, states)
    budget = Budget(None if args.steps else args.minutes, args.steps)
    plan = Plan(args.out, budget, seed=args.seed, precision=args.precision)
    average, state = fit(unet, loss, Setting("inpaint", plan, Rate(args.rate)))
    return loss, average, state


def draw_sheet(dataset: Dataset, folder: Path, path: Path, seed: int) -> None:
    """Rows of given, made and true pictures: new renderings of training glyphs."""
    generator = torch.Generator().manual_seed(seed + 9)
    glyphs = dataset.indices("train")
    chosen = glyphs[torch.randint(len(glyphs), (SHOWN,), generator=generator)]
    pictures = to_uint8(dataset.renderer()(chosen, generator))
    masks = (255 * random_masks(SHOWN, generator)).byte()
    records = [Record(i, str(i), picture, mask) for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True))]
    batch = collate("sheet", 0, records, (3, *pictures.shape[2:]), seed)
    task = Inpaint(paste=False)
    made = Pipeline(load(find(str(folder))), task, DDIM(), 25)(batch).images
    save_grid(torch.cat([to_float(part) for part in (task.given(batch), made, pictures)]), path, SHOWN)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, changes, model and sheet")
    parser.add_argument("--data", type=Path, default=Path("runs/emoji/data"), help="of build_emoji.py (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="of training (%(default)s)")
    parser.add_argument("--steps", type=int, help="of training, instead of minutes")
    parser.add_argument("--rank", type=int, default=8, help="of the changes (%(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, pictures, masks and noise (0)")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of training (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Tune, write and look."""
    args = parse()
    exit_when_asked()
    dataset = Dataset.load(args.data)
    loss, average, state = train(dataset, args)
    found, base = deltas(average), find("emoji-64").path
    save_file(found, args.out / "inpaint.safetensors")
    write_model(base, found, args.out / "model")
    before = UNet2DConditionModel.from_pretrained(base / "unet")
    networks = {"before": widened(before), "after": merged(before, found)}
    checked = {name: round(loss.mean(unet.eval(), CHECKED, args.seed), 5) for name, unet in networks.items()}
    report: dict[str, Any] = {**origin()}
    report |= {"steps": state.step, "minutes": round(state.seconds / 60, 2), "pictures_a_step": BATCH, "loss": checked}
    report |= {"bytes": (args.out / "inpaint.safetensors").stat().st_size, "history": state.history}
    (args.out / "inpaint.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_sheet(dataset, args.out / "model", args.out / "inpaint.png", args.seed)
    print(f"{state.step} steps, loss {checked['before']} before, {checked['after']} after; {args.out / 'model'}")


if __name__ == "__main__":
    main()
