"""Stage vae: an AutoencoderKL whose reconstructions the classifier reads as well as the pictures themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.classifier import load_classifier, shares
from faces.pictures import Pool
from fcs.metrics.attributes import AttributeClassifier

BATCH = 8  # on each rank; small: the number of updates counts more than their noise
FACE = (slice(14, 50), slice(16, 48))  # rows and columns in which brows, eyes and mouth lie
CHANNELS = 8  # of the latents
LEAST = 0.97  # of the accuracy on clean renders: the milestone


def new_vae() -> AutoencoderKL:
    """The untrained network; no attention, so speed and reach are those of convolutions."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 64),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


@dataclass
class Loss:
    """Distances of pictures and of the classifier's features, and a little Kullback-Leibler divergence."""

    vae: AutoencoderKL
    classifier: AttributeClassifier
    pool: Pool

    def __call__(self, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        x, labels = self.pool.draw(BATCH, generator)
        posterior = self.vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
        y = self.vae.decode(posterior.mean + posterior.std * noise).sample.float()
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        return {**reconstruction(y, x), **perception(self.classifier, y, x, labels), "kl": 1e-4 * kl}


def reconstruction(y: Tensor, x: Tensor) -> Losses:
    """Distances of reconstructions y and pictures x, (N, 3, 64, 64); what lies in the face counts about three times."""
    error = y - x
    mse = error.square().mean()
    edges = (y.diff(dim=3) - x.diff(dim=3)).abs().mean() + (y.diff(dim=2) - x.diff(dim=2)).abs().mean()
    face = error[:, :, FACE[0], FACE[1]]
    return {
        "l1": error.abs().mean(),
        "mse": 5 * mse,
        "edges": 0.25 * edges,
        "coarse": F.avg_pool2d(error, 8).abs().mean(),
        "face": 0.75 * face.abs().mean() + 3.75 * face.square().mean(),
        "_psnr": -10 * torch.log10(mse.detach() / 4),
    }


def perception(classifier: AttributeClassifier, y: Tensor, x: Tensor, labels: Tensor) -> Losses:
    """Distances of the classifier's features, each map in units of its own spread; and its own reading of y."""
    with torch.no_grad():
        targets = classifier.features(x)
    found = classifier.features(y)
    parts = [((a - b) / b.std()).square().mean() for a, b in zip(found, targets, strict=True)]
    logits = classifier.read(found[-1])
    right = torch.stack([(own.argmax(1) == labels[:, i]).float().mean() for i, own in enumerate(logits)])
    return {"features": 0.2 * torch.stack(parts).sum(), "_right": right.mean()}


def train_vae(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes ``vae`` and what the classifier reads through it on new draws to ``vae.accuracy.json``."""
    torch.manual_seed(plan.seed)
    vae = AutoencoderKL.from_pretrained(plan.start / "vae") if plan.start else new_vae()
    vae = vae.to(plan.device, memory_format=torch.channels_last)
    classifier = load_classifier(plan.folder).to(plan.device)
    average, state = fit(vae, Loss(vae, classifier, pool), Setting("vae", plan, Rate(1.2e-3)))
    latents = encode(average, pool, torch.arange(2000))
    average.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    average.save_pretrained(plan.folder / "vae")
    found = through(average, classifier, seen)
    (plan.folder / "vae.accuracy.json").write_text(json.dumps(found, indent=1) + "\n")
    return state


@torch.no_grad()
def encode(vae: AutoencoderKL, pool: Pool, rows: Tensor) -> Tensor:
    """Posterior means of a pool's pictures, unscaled."""
    return torch.cat([vae.encode(pool.rows(part)[0]).latent_dist.mean for part in torch.split(rows, 125)])


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, x: Tensor) -> Tensor:
    """Pictures (N, 3, 64, 64) through the posterior mean and back, clipped to [-1, 1]."""
    parts = [vae.decode(vae.encode(part).latent_dist.mean).sample for part in torch.split(x, 125)]
    return torch.cat(parts).clamp(-1, 1)


def through(
    vae: AutoencoderKL, classifier: AttributeClassifier, pool: Pool, count: int = 2000
) -> dict[str, dict[str, float]]:
    """Accuracy on a pool's first pictures, clean and through the VAE, the ratio of both, and PSNR in dB."""
    clean, coded, errors = [], [], []
    for rows in torch.split(torch.arange(min(count, len(pool))), 250):
        x, labels = pool.rows(rows)
        y = reconstruct(vae, x)
        clean.append(classifier.predict(x) == labels)
        coded.append(classifier.predict(y) == labels)
        errors.append((y - x).square().mean((1, 2, 3)) / 4)
    accuracies = [shares(torch.cat(part).cpu().numpy()) for part in (clean, coded)]
    ratio = {name: round(accuracies[1][name] / max(accuracies[0][name], 1e-9), 4) for name in accuracies[0]}
    psnr = -10 * torch.log10(torch.cat(errors)).mean().item()
    return {"clean": accuracies[0], "vae": accuracies[1], "ratio": ratio, "psnr": {"mean": round(psnr, 2)}}
