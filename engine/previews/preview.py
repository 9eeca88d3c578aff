"""Quick pictures of latents, also of such as are still being denoised.

# B batch (1), T latent frames, h w latent height and width, H W pixel height and width, F frames
#
# A previewer makes one picture of each latent frame. `linear_preview` needs nothing but a matrix and shows 1/8 of the
# size; `decoded_preview` shows what a decoder makes of the latents: TAEHV's, or a VAE's own where there is time for it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.pixels import to_uint8

Pictures = NDArray[np.uint8]  # [T, H, W, 3], one for each latent frame
Previewer = Callable[[Tensor], Pictures]  # latents [1, 16, T, h, w], normalised -> pictures
RGB = Sequence[float]  # red, green and blue
Decode = Callable[[Tensor], Iterable[Tensor]]  # the same latents -> chunks of pixels [1, 3, F, H, W] in [-1, 1]

STRIP_HEIGHT = 200
STRIP_PICTURES = 4
FRAMES_PER_LATENT = 4
RIDGE = 1e-3  # of a variance of 1, which latents have

WAN_RGB = (  # red, green and blue of each latent channel
    (-0.1299, -0.1692, 0.2932), (0.0671, 0.0406, 0.0442), (0.3568, 0.2548, 0.1747), (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328), (0.0296, -0.0956, -0.0665), (-0.3477, -0.4059, -0.2925), (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364), (-0.1293, 0.0740, 0.1636), (0.0680, 0.3019, 0.1128), (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699), (0.0060, -0.0633, 0.0005), (0.3477, 0.2275, 0.2950), (0.1984, 0.0913, 0.1861),
)  # fmt: skip
WAN_RGB_BIAS = (-0.1835, -0.0868, -0.3360)


def linear_preview(latents: Tensor, rgb: Sequence[RGB] = WAN_RGB, bias: RGB = WAN_RGB_BIAS) -> Pictures:
    """Each latent pixel as one pixel, by a linear map. latents: [1, 16, T, h, w], normalised -> [T, h, w, 3]

    NOTE: the default, ComfyUI's latent_rgb_factors of Wan21, belongs to the latents of Wan 2.1's VAE, which Wan2.2's
    14 B models share. Of any other VAE's latents, the demo's among them, it makes arbitrary colours.
    """
    if latents.shape[:2] != (1, len(rgb)):
        raise ValueError(f"the linear map needs latents [1, {len(rgb)}, T, h, w], got {list(latents.shape)}")
    colours = torch.einsum("bcthw,cr->brthw", latents.float(), latents.new_tensor(rgb, dtype=torch.float32))
    return to_uint8(colours + colours.new_tensor(bias).view(1, 3, 1, 1, 1))


def fitted_preview(latent: Tensor, pixels: Tensor) -> Previewer:
    """The linear map of any VAE, by least squares from one latent frame and its picture: as near as a linear map comes
    to the colours in it, and a good guess at others. latent: [1, 16, 1, h, w]; pixels: [1, 3, 1, H, W] in [-1, 1]
    """
    height, width = latent.shape[-2:]
    small = F.adaptive_avg_pool2d(pixels[0, :, 0].double().cpu(), (height, width))
    known = rearrange(latent[0, :, 0].double().cpu(), "c h w -> (h w) c")
    known = torch.cat([known, known.new_ones(len(known), 1)], dim=1)
    ridge = RIDGE * len(known) * torch.eye(known.shape[1], dtype=known.dtype)  # channels that this picture leaves alone
    rows = torch.linalg.solve(known.T @ known + ridge, known.T @ rearrange(small, "r h w -> (h w) r")).tolist()
    return partial(linear_preview, rgb=rows[:-1], bias=rows[-1])


def decoded_preview(decode: Decode) -> Previewer:
    """A previewer that shows the last frame of each latent frame, so the whole of it; decode: TAEHV's, or a VAE's."""

    def pictures(latents: Tensor) -> Pictures:
        return np.concatenate([to_uint8(_last_frames(chunk)) for chunk in decode(latents)])

    return pictures


def preview_strip(latents: Tensor, previewer: Previewer, *, continues: bool) -> Image.Image:
    """At most 4 evenly spaced latent frames, the first and the last among them, side by side, 200 pixels high.

    latents: [1, 16, T, h, w]. In a window that `continues` something, latent frame 0 is the anchor, which belongs to
    no moment of the film, and is left out. A decoder reads one latent frame before each that is shown, not all of them:
    the picture is as good, and costs a third.
    """
    first, count = int(continues), latents.shape[2] - int(continues)
    if count == 0:
        raise ValueError(f"{latents.shape[2]} latent frames leave nothing to show")
    spaced = first + np.linspace(0, count - 1, min(count, STRIP_PICTURES)).round().astype(int)
    pictures = [previewer(latents[:, :, max(0, moment - 1) : moment + 1])[-1] for moment in spaced]
    height, width, _ = pictures[0].shape
    size = (max(1, round(STRIP_HEIGHT * width / height)), STRIP_HEIGHT)
    resized = [Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    return Image.fromarray(np.hstack([np.asarray(picture) for picture in resized]))


def _last_frames(pixels: Tensor) -> Tensor:
    """The last frame of each latent frame of a chunk: [1, 3, F, H, W] -> [1, 3, T, H, W]

    Chunks end where latent frames end; the first latent frame of a video is a single frame.
    """
    return pixels[:, :, (pixels.shape[2] - 1) % FRAMES_PER_LATENT :: FRAMES_PER_LATENT]
