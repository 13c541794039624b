"""Train the embedded digits models from nothing, in minutes on two cores.

    python jobs/train_digits.py --model digits-16          the denoiser that predicts eps (Stable Diffusion's betas)
    python jobs/train_digits.py --model digits-16-flow     its twin, a rectified flow
    python jobs/train_digits.py --model digits-classifier  the classifier for features and retrieval

Each step's randomness comes from (seed, step), so an interrupted training goes on as if it had not been; SIGTERM
writes a checkpoint and ends with 75. Writes fp16 safetensors and a card to fcs/weights/MODEL, a grid of samples to
WORK/MODEL/samples.png.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from build_digits import HELD_OUT, held_out_digits, training_digits
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from training.fit import Loss, Losses, fit
from training.interruption import exit_when_asked
from training.plan import Budget, Plan, Rate, Setting

from fcs.metrics.features import DigitsClassifier

WEIGHTS = Path("fcs/weights")
DATA = {
    "source": "scikit-learn load_digits: UCI Optical Recognition of Handwritten Digits, test part",
    "data_licence": "CC BY 4.0",
    "picture": "1x16x16 in [-1, 1], Pillow bicubic from uint8(x * 255 / 16)",
    "split": f"{1797 - HELD_OUT} for training, the last {HELD_OUT} held out",
}


def unet() -> UNet2DModel:
    """The network of both denoisers: 16, 8 and 4 pixels wide, attention at 8 and 4."""
    return UNet2DModel(
        sample_size=16,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 48, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=16,
        dropout=0.05,
    )


def betas_scheduler() -> DDPMScheduler:
    """Stable Diffusion's scaled-linear betas."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        clip_sample=False, prediction_type="epsilon",
    )  # fmt: skip


def flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """A rectified flow, x_t = (1 - t) x_0 + t eps, without shift."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)


def as_images(pictures: np.ndarray) -> Tensor:
    """uint8 ``(N, 16, 16)`` to float ``(N, 1, 16, 16)`` in [-1, 1]."""
    return torch.from_numpy(pictures.copy()).float().div(127.5).sub(1).unsqueeze(1)


def eps_loss(net: nn.Module, x0: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of the predicted noise at uniform timesteps."""
    alphas = betas_scheduler().alphas_cumprod
    t = torch.randint(1000, (len(x0),), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    abar = alphas[t].view(-1, 1, 1, 1)
    return F.mse_loss(net(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t.float()).sample, eps)


def flow_loss(net: nn.Module, x0: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of the predicted velocity eps - x_0, t uniform in [0, 1]."""
    t = torch.rand(len(x0), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    mix = t.view(-1, 1, 1, 1)
    return F.mse_loss(net((1 - mix) * x0 + mix * eps, 1000 * t).sample, eps - x0)


def class_loss(net: nn.Module, x0: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Cross-entropy on pictures moved by up to one pixel and with a little noise."""
    dy, dx = (int(v) for v in torch.randint(-1, 2, (2,), generator=generator))
    moved = F.pad(x0, (1, 1, 1, 1), value=-1.0)[:, :, 1 + dy : 17 + dy, 1 + dx : 17 + dx]
    moved = moved + 0.1 * torch.randn(moved.shape, generator=generator)
    return F.cross_entropy(net(moved), classes)


def train(net: nn.Module, loss: Loss, folder: Path, steps: int) -> tuple[nn.Module, dict[str, object]]:
    """The mean of the trained weights, and what a card says of the training."""
    rate = Rate(1e-3, flat=0.0, fall="cosine")
    plan = Plan(folder, Budget(steps=steps))
    average, state = fit(net, loss, Setting(folder.name, plan, rate, average=0.998, betas=(0.9, 0.999)))
    last = state.history[-1]["loss"] if state.history else None
    return average, {"steps": state.step, "loss": last, "minutes": round(state.seconds / 60, 1)}


def held_out_loss(net: nn.Module, loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor]) -> float:
    """Loss on the held-out digits, mean of 20 draws."""
    images = as_images(held_out_digits()[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return float(np.mean([loss(net, images, generator).item() for _ in range(20)]))


def card(name: str, net: nn.Module, facts: dict[str, object]) -> dict[str, object]:
    """What a reader must know about the weights."""
    return {
        "model": name, "licence": "Apache-2.0", **DATA,
        "parameters": sum(p.numel() for p in net.parameters()), **facts,
        "hardware": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
        "command": f"python jobs/train_digits.py --model {name}",
    }  # fmt: skip


def train_denoiser(name: str, work: Path, steps: int) -> None:
    """Train, export as a diffusers folder, draw a grid."""
    loss = flow_loss if name.endswith("flow") else eps_loss
    images = as_images(training_digits()[0])
    torch.manual_seed(0)
    net = unet()

    def batch_loss(generator: torch.Generator) -> Losses:
        return {"loss": loss(net, images[torch.randint(len(images), (64,), generator=generator)], generator)}

    average, facts = train(net, batch_loss, work / name, steps)
    scheduler = flow_scheduler() if name.endswith("flow") else betas_scheduler()
    facts["batch"] = 64
    facts["held_out_loss"] = round(held_out_loss(average, loss), 4)
    export(name, average, scheduler, facts)
    draw_grid(name, work / name / "samples.png")


def export(name: str, net: UNet2DModel, scheduler: DDPMScheduler, facts: dict[str, object]) -> None:
    """Write the folder that diffusers loads: model_index.json, unet/, scheduler/, and the card."""
    folder = WEIGHTS / name
    net.half().save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", type(scheduler).__name__],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")
    (folder / "card.json").write_text(json.dumps(card(name, net, facts), indent=1) + "\n")


def draw_grid(name: str, path: Path) -> None:
    """64 unconditional samples by 50 steps of DDIM, as the library makes them."""
    import fcs

    pictures = fcs.sample(fcs.load(name), count=64, steps=50, seed=0).images
    sheet = Image.new("L", (8 * 17, 8 * 17))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % 8 * 17, i // 8 * 17))
    sheet.resize((8 * 68, 8 * 68), Image.Resampling.NEAREST).save(path)
    print(f"{path}: 64 samples")


def train_classifier(work: Path, steps: int) -> None:
    """Train the classifier and export it with its accuracy on the held-out digits."""
    pictures, labels = training_digits()
    images, classes = as_images(pictures), torch.from_numpy(labels)
    torch.manual_seed(0)
    net = DigitsClassifier()

    def batch_loss(generator: torch.Generator) -> Losses:
        rows = torch.randint(len(images), (128,), generator=generator)
        return {"loss": class_loss(net, images[rows], classes[rows], generator)}

    average, facts = train(net, batch_loss, work / "digits-classifier", steps)
    held, truth = held_out_digits()
    with torch.no_grad():
        right = (average(as_images(held)).argmax(1).numpy() == truth).mean()
    facts["batch"] = 128
    facts["held_out_accuracy"] = round(float(right), 4)
    folder = WEIGHTS / "digits-classifier"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: v.half().contiguous() for n, v in average.state_dict().items()}, folder / "model.safetensors")
    (folder / "card.json").write_text(json.dumps(card("digits-classifier", average, facts), indent=1) + "\n")
    print(f"held-out accuracy {right:.3f}")


def main() -> int:
    """Parse the arguments and train one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["digits-16", "digits-16-flow", "digits-classifier"]
    parser.add_argument("--model", choices=names, required=True, help="which model to train")
    parser.add_argument("--steps", type=int, default=3000, help="training steps (3000)")
    parser.add_argument("--work", type=Path, default=Path("runs/train_digits"), help="checkpoints and the grid")
    args = parser.parse_args()
    exit_when_asked()
    if args.model == "digits-classifier":
        train_classifier(args.work, args.steps)
    else:
        train_denoiser(args.model, args.work, args.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
