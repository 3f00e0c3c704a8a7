"""The networks that `train.py` trains: chunked policies that read a vector, or a vector and one picture per camera.
Both compute one token per control step of the chunk; the tokens are the activation that a probe reads."""

import torch
from torch import nn

HORIZON = 10
ACTION = 7


class Block(nn.Module):
    """Pre-norm residual MLP block, float32[batch, width] → the same shape."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))


class ChunkPolicy(nn.Module):
    """float32[batch, features] → actions float32[batch, 10, 7] and action tokens float32[batch, 10, token].

    A residual trunk reads the observation once. A linear layer maps the trunk's output to one token per control step of the
    chunk, and a head shared by all tokens maps each token to an action. The tokens are the activation that a probe reads.
    """

    def __init__(self, mean, scale, width, blocks, token):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.token = token
        self.stem = nn.Linear(len(mean), width)
        self.trunk = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.unfold = nn.Linear(width, HORIZON * token)
        self.head = nn.Linear(token, ACTION)

    def forward(self, observation):
        return self.unfolded((observation - self.mean) / self.scale)

    def unfolded(self, features):
        """Maps normalised features, float32[batch, features], to actions and tokens."""
        x = self.norm(self.trunk(self.stem(features)))
        tokens = nn.functional.gelu(self.unfold(x)).reshape(-1, HORIZON, self.token)
        return self.head(tokens), tokens


class Eye(nn.Module):
    """uint8[batch, height, width, 3] → float32[batch, 2 * POINTS + COARSE].

    The output is the image position of each learnt feature (spatial soft-argmax, after Levine et al., *End-to-End Training
    of Deep Visuomotor Policies*, JMLR 2016), followed by coarse features of the whole picture.
    """

    POINTS = 32
    COARSE = 64

    def __init__(self, size):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 24, 8, stride=4, padding=2),
            nn.GELU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 64, 3, padding=1),
        )
        self.pool = nn.AvgPool2d(4)
        side = size // 8
        self.coarse = nn.Linear(64 * (side // 4) ** 2, self.COARSE)
        # Coordinates of the feature map's cells, -1 to 1.
        line = torch.linspace(-1.0, 1.0, side)
        self.register_buffer("across", line.repeat(side))
        self.register_buffer("down", line.repeat_interleave(side))

    def forward(self, picture):
        x = self.convolutions(picture.permute(0, 3, 1, 2).float() / 255.0 - 0.5)
        weight = torch.softmax(x[:, : self.POINTS].flatten(2), dim=2)
        points = torch.cat([(weight * self.across).sum(2), (weight * self.down).sum(2)], dim=1)
        coarse = nn.functional.gelu(self.coarse(self.pool(nn.functional.gelu(x)).flatten(1)))
        return torch.cat([points, coarse], dim=1)


class LookingPolicy(ChunkPolicy):
    """float32[batch, features] and a uint8[batch, size, size, 3] per camera → actions and tokens as in `ChunkPolicy`.

    Each camera has a separate encoder `Eye`. The encoders' outputs are appended to the vector before the trunk.
    """

    def __init__(self, mean, scale, width, blocks, token, cameras, size):
        super().__init__(mean, scale, width, blocks, token)
        self.eyes = nn.ModuleList(Eye(size) for _ in range(cameras))
        self.stem = nn.Linear(len(mean) + cameras * (2 * Eye.POINTS + Eye.COARSE), width)

    def forward(self, observation, *pictures):
        seen = [eye(picture) for eye, picture in zip(self.eyes, pictures)]
        return self.unfolded(torch.cat([(observation - self.mean) / self.scale, *seen], dim=1))
