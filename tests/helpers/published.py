"""The rivals' published loops in plain torch, one picture at a time, in their own terms; nothing of fcs in here.

``eps(x, i)`` is the network, ``abar`` the products abar_t with the noisiest first and 1 at the end, ``y`` the
measurement, ``A`` its operator, ``z()`` the next noise. A draw that would be multiplied by zero is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Net = Callable[[Tensor, int], Tensor]
Map = Callable[[Tensor], Tensor]
Draw = Callable[[], Tensor]


def predicted(x: Tensor, e: Tensor, a: float) -> Tensor:
    return (x - (1 - a) ** 0.5 * e) / a**0.5


def ancestral(x: Tensor, x0: Tensor, a: float, b: float, z: Draw) -> Tensor:
    """The DDPM posterior from abar_t = a to abar_{t-1} = b (Ho et al. 2020, eq. 7)."""
    beta = 1 - a / b
    mean = b**0.5 * beta / (1 - a) * x0 + (a / b) ** 0.5 * (1 - b) / (1 - a) * x
    variance = (1 - b) * beta / (1 - a)
    return mean + variance**0.5 * z() if variance > 0 else mean


def ddim_eta(x0: Tensor, e: Tensor, a: float, b: float, eta: float, z: Draw) -> Tensor:
    """DDIM with Song's eta, eq. 12 and 16."""
    sigma = eta * ((1 - b) / (1 - a)) ** 0.5 * (1 - a / b) ** 0.5
    x = b**0.5 * x0 + (1 - b - sigma**2) ** 0.5 * e
    return x + sigma * z() if sigma > 0 else x


def forward_again(x: Tensor, a: float, b: float, z: Draw) -> Tensor:
    """From abar_{t-1} = b back to abar_t = a."""
    return (a / b) ** 0.5 * x + (1 - a / b) ** 0.5 * z()


def dps(
    x: Tensor, eps: Net, abar: Sequence[float], A: Map, y: Tensor, zeta: float, z: Draw, clip: bool = False
) -> Tensor:
    for i in range(len(abar) - 1):
        x = guided(x, eps, abar, i, A, y, zeta, z, clip)
    return x


def guided(
    x: Tensor, eps: Net, abar: Sequence[float], i: int, A: Map, y: Tensor, rho: float, z: Draw, clip: bool = False
) -> Tensor:
    x = x.detach().requires_grad_()
    x0 = predicted(x, eps(x, i), abar[i])
    x0 = x0.clamp(-1, 1) if clip else x0
    (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(x0)), x)
    return ancestral(x.detach(), x0.detach(), abar[i], abar[i + 1], z) - rho * gradient


def psld(
    x: Tensor, eps: Net, abar: Sequence[float], A: Map, glue: Map, y: Tensor, omega: float, gamma: float
) -> Tensor:
    """``A`` from the latent to the measurement; ``glue`` the re-encoded picture with its measured part replaced."""
    for i in range(len(abar) - 1):
        x = x.detach().requires_grad_()
        e = eps(x, i)
        x0 = predicted(x, e, abar[i])
        error = omega * torch.linalg.norm(A(x0) - y) + gamma * torch.linalg.norm(glue(x0) - x0)
        (gradient,) = torch.autograd.grad(error, x)
        x = (abar[i + 1] ** 0.5 * x0 + (1 - abar[i + 1]) ** 0.5 * e - gradient).detach()
    return x


def freedom(x: Tensor, eps: Net, abar: Sequence[float], A: Map, y: Tensor, scale: float, z: Draw) -> Tensor:
    """Ten levels: repeated thrice at indices 6 to 4, guided from 6 to 3 (the style code's 70, 40, 30 of 100)."""
    for i in range(10):
        index = 9 - i
        repeat = 3 if 7 > index >= 4 else 1
        for j in range(repeat):
            if 7 > index >= 3:
                after = guided(x, eps, abar, i, A, y, abar[i] ** 0.5 * scale, z)
            else:
                after = ancestral(x, predicted(x, eps(x, i), abar[i]), abar[i], abar[i + 1], z)
            if j < repeat - 1:
                x = forward_again(after, abar[i], abar[i + 1], z)
        x = after
    return x


def mpgd(
    x: Tensor,
    eps: Net,
    abar: Sequence[float],
    A: Map,
    y: Tensor,
    scale: float,
    eta: float,
    codec: Map,
    z: Draw,
    clip: bool,
) -> Tensor:
    for i in range(len(abar) - 1):
        e = eps(x, i)
        x0 = predicted(x, e, abar[i]).detach()
        if clip:
            x0 = x0.clamp(-1, 1)
            e = (x - abar[i] ** 0.5 * x0) / (1 - abar[i]) ** 0.5
        x0.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(x0)), x0)
        x0 = codec(x0.detach() - gradient * scale / abar[i + 1] ** 0.5)
        x = ddim_eta(x0, e, abar[i], abar[i + 1], eta, z)
    return x


def repaint(x: Tensor, eps: Net, abar: Sequence[float], m: Tensor, y: Tensor, times: Sequence[int], z: Draw) -> Tensor:
    """``times`` as the published schedule lists them: T - 1 first, -1 clean."""
    place = len(abar) - 2  # of time 0
    for last, now in pairwise(times):
        a, b = abar[place - last], abar[place - now]
        if now > last:
            x = forward_again(x, b, a, z)
            continue
        unknown = ancestral(x, predicted(x, eps(x, place - last), a), a, b, z)
        known = b**0.5 * y + (1 - b) ** 0.5 * z()
        x = m * known + (1 - m) * unknown
    return x


def ding(
    x: Tensor, eps: Net, abar: Sequence[float], m: Tensor, y: Tensor, sigma_y: float, bridge: str, z: Draw
) -> Tensor:
    """With alpha = sqrt(abar); the posterior of each step as a product of two Gaussians, by precisions."""
    for i in range(len(abar) - 2):
        alpha, sigma = abar[i + 1] ** 0.5, (1 - abar[i + 1]) ** 0.5
        one_step = (1 - abar[i + 1]) / (1 - abar[i]) * (1 - abar[i] / abar[i + 1])  # Ho et al. 2020, eq. 7
        eta = {"square": sigma * (1 - alpha), "root": sigma * (1 - alpha) ** 0.5, "ddpm": one_step**0.5}[bridge]
        e = eps(x, i)
        mu = alpha * predicted(x, e, abar[i]) + (sigma**2 - eta**2) ** 0.5 * e
        ahead = eps(mu + eta * z(), i + 1)
        variance = 1 / (m / (alpha * sigma_y) ** 2 + 1 / eta**2)
        x = variance * (m * (alpha * y + sigma * ahead) / (alpha * sigma_y) ** 2 + mu / eta**2) + variance**0.5 * z()
    return predicted(x, eps(x, len(abar) - 2), abar[-2])


def p2l(
    z: Tensor,
    cond: Tensor,
    eps: Callable[[Tensor, int, Tensor], Tensor],
    abar: Sequence[float],
    A: Map,
    y: Tensor,
    project: Map,
    tunings: int,
    rate: float,
    rho: float,
    every: int,
) -> Tensor:
    for i in range(len(abar) - 1):
        first, second = torch.zeros_like(cond), torch.zeros_like(cond)
        for k in range(1, tunings + 1):  # Adam, by its own formulas
            leaf = cond.detach().requires_grad_()
            loss = (y - A(predicted(z, eps(z, i, leaf), abar[i]))).square().sum()
            (g,) = torch.autograd.grad(loss, leaf)
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            cond = cond - rate * (first / (1 - 0.9**k)) / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
        z = z.detach().requires_grad_()
        e = eps(z, i, cond)
        x0 = predicted(z, e, abar[i])
        (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(x0)), z)
        kept = project(x0.detach()) if i % every == 0 else x0
        z = (abar[i + 1] ** 0.5 * kept + (1 - abar[i + 1]) ** 0.5 * e - rho * gradient).detach()
    return z


def latino(
    z: Tensor,
    eps: Net,
    abar: Sequence[float],
    told: Sequence[float],
    prox: Callable[[Tensor, float], Tensor],
    sigma_y: float,
    n: Draw,
) -> Tensor:
    """``prox`` of the decoded picture, encoded; ``delta`` as the code has it for inpainting."""
    for i in range(len(abar) - 1):
        delta = 1 if told[i] > 500 else 0.5
        z0 = prox(predicted(z, eps(z, i), abar[i]), delta * (1 - abar[i]) / sigma_y**2)
        z = abar[i + 1] ** 0.5 * z0 + (1 - abar[i + 1]) ** 0.5 * n() if abar[i + 1] < 1 else z0
    return z


def fmrg(
    z: Tensor,
    velocity: Net,
    times: Sequence[float],
    A: Map,
    y: Tensor,
    scale: float,
    moves: int,
    through: bool,
) -> Tensor:
    """``flow_map1`` with the loss ``norm``: one velocity a level, to the end of the path."""
    for i, (now, then) in enumerate(pairwise(times)):
        dt = now - then
        if through:
            start, u, at = z, None, z
            for _ in range(moves):
                at = at.detach().requires_grad_()
                v = velocity(at, i)
                u = v.detach() if u is None else u
                (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(at - now * v)), at)
                at = at - scale * gradient
            z = start - dt * (u + start - at.detach())
        else:
            u = velocity(z, i).detach()
            first = end = z - now * u
            for _ in range(moves):
                end = end.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(torch.linalg.norm(y - A(end)), end)
                end = end - scale * gradient
            z = z - dt * u - now * (1 - then) * (first - end.detach())
    return z
