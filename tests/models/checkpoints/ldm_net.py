"""A small ctrLoRA control net with random weights in LDM's structure: the oracle for imported checkpoints.

It follows the published structure, independently of diffusers: blocks are numbered consecutively, and modules have the
names of the checkpoints' keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dentgen.seeding import fresh_weights


@dataclass(frozen=True)
class LdmShape:
    """Sizes of a control net; the defaults have Stable Diffusion 1.5's blocks and 13 residuals."""

    widths: tuple[int, ...] = (32, 64, 96, 96)
    attended: tuple[bool, ...] = (True, True, True, False)
    layers: int = 2
    context: int = 24
    heads: int = 8
    rank: int | None = None


#: Fits the miniature's UNet.
MINIATURE_SHAPE = LdmShape(widths=(64, 128, 160), attended=(False, True, False), layers=1, context=128, rank=2)


class Lora(nn.Module):
    def __init__(self, wide_in: int, wide_out: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(wide_in, rank, bias=False)
        self.up = nn.Linear(rank, wide_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(self.down(x))
        return result


class Linear(nn.Linear):
    """A linear layer, with a LoRA if there is a rank."""

    def __init__(self, wide_in: int, wide_out: int, rank: int | None, *, bias: bool = True) -> None:
        super().__init__(wide_in, wide_out, bias=bias)
        self.lora_layer = None if rank is None else Lora(wide_in, wide_out, rank)

    def forward(self, x: Tensor) -> Tensor:
        plain = super().forward(x)
        return plain if self.lora_layer is None else plain + self.lora_layer(x)


class ResBlock(nn.Module):
    def __init__(self, wide_in: int, wide_out: int, time: int, rank: int | None) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, wide_in), nn.SiLU(), nn.Conv2d(wide_in, wide_out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), Linear(time, wide_out, rank))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, wide_out), nn.SiLU(), nn.Dropout(0), nn.Conv2d(wide_out, wide_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if wide_in == wide_out else nn.Conv2d(wide_in, wide_out, 1)

    def forward(self, x: Tensor, emb: Tensor, _context: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        result: Tensor = self.skip_connection(x) + self.out_layers(h)
        return result


class Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int, rank: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = Linear(width, width, rank, bias=False)
        self.to_k = Linear(context, width, rank, bias=False)
        self.to_v = Linear(context, width, rank, bias=False)
        self.to_out = nn.Sequential(Linear(width, width, rank), nn.Dropout(0))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        result: Tensor = self.to_out((weights @ v).transpose(1, 2).flatten(2))
        return result


class Geglu(nn.Module):
    def __init__(self, width: int, inner: int, rank: int | None) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner, rank)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int, rank: int | None) -> None:
        super().__init__()
        self.net = nn.Sequential(Geglu(width, 4 * width, rank), nn.Dropout(0), Linear(4 * width, width, rank))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x)
        return result


class TransformerBlock(nn.Module):
    def __init__(self, width: int, shape: LdmShape) -> None:
        super().__init__()
        self.attn1 = Attention(width, width, shape.heads, shape.rank)
        self.ff = FeedForward(width, shape.rank)
        self.attn2 = Attention(width, shape.context, shape.heads, shape.rank)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        result: Tensor = x + self.ff(self.norm3(x))
        return result


class SpatialTransformer(nn.Module):
    def __init__(self, width: int, shape: LdmShape) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, shape)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, _emb: Tensor, context: Tensor) -> Tensor:
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        result: Tensor = x + self.proj_out(tokens.transpose(1, 2).reshape(x.shape))
        return result


class Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, _emb: Tensor, _context: Tensor) -> Tensor:
        result: Tensor = self.op(x)
        return result


class Stem(nn.Conv2d):
    def forward(self, x: Tensor, _emb: Tensor, _context: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class Block(nn.Sequential):
    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        for part in self:
            x = part(x, emb, context)
        return x


class LdmControl(nn.Module):
    """The control branch: hint latents, timesteps and text in, residuals out, the middle block's last."""

    def __init__(self, shape: LdmShape) -> None:
        super().__init__()
        self.width, time = shape.widths[0], 4 * shape.widths[0]
        self.time_embed = nn.Sequential(Linear(self.width, time, shape.rank), nn.SiLU(), Linear(time, time, shape.rank))
        blocks, widths, width = [Block(Stem(4, self.width, 3, padding=1))], [self.width], self.width
        for level, wide in enumerate(shape.widths):
            for _ in range(shape.layers):
                parts: list[nn.Module] = [ResBlock(width, wide, time, shape.rank)]
                parts += [SpatialTransformer(wide, shape)] if shape.attended[level] else []
                blocks.append(Block(*parts))
                width = wide
                widths.append(width)
            if level + 1 < len(shape.widths):
                blocks.append(Block(Downsample(width)))
                widths.append(width)
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = Block(
            ResBlock(width, width, time, shape.rank), SpatialTransformer(width, shape),
            ResBlock(width, width, time, shape.rank),
        )  # fmt: skip
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(w, w, 1)) for w in widths)
        self.middle_block_out = nn.Sequential(nn.Conv2d(width, width, 1))

    def forward(self, hint: Tensor, timesteps: Tensor, context: Tensor) -> list[Tensor]:
        half = self.width // 2
        angles = timesteps[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        emb, h, residuals = self.time_embed(torch.cat([angles.cos(), angles.sin()], 1)), hint, []
        for block, zero in zip(self.input_blocks, self.zero_convs, strict=True):
            h = block(h, emb, context)
            residuals.append(zero(h))
        return [*residuals, self.middle_block_out(self.middle_block(h, emb, context))]


def random_control(shape: LdmShape, *seed: int | str) -> LdmControl:
    """A control net in which every tensor, including norms and biases, differs from its default initialisation."""
    with fresh_weights(*seed):
        net = LdmControl(shape)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def checkpoint(net: LdmControl) -> dict[str, Tensor]:
    """The tensors of a control net under a checkpoint's keys."""
    return {f"control_model.{name}": value for name, value in net.state_dict().items()}


def trained(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that ctrLoRA's own tool extracts as a LoRA file."""
    parts = ("lora_layer", "zero_convs", "middle_block_out", "norm")
    return {name: value for name, value in tensors.items() if any(part in name for part in parts)}
