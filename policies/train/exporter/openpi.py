"""The changes to transformers that LeRobot's π0 needs, supplied to the unchanged transformers of
`requirements-lerobot.txt`.

LeRobot needs a branch of transformers on GitHub for π0, and its package on PyPI cannot name it. `PI0Policy` refuses to be
built without the branch's changes, which are those of the files that openpi copies over transformers 4.53.2
(`openpi/models_pytorch/transformers_replace`). For inference they differ from transformers in five places:

- Gemma does not multiply its input by the square root of its width; LeRobot scales the tokens itself.
- PaliGemma does not divide a picture's features by the same number.
- Gemma and SigLIP compute in bfloat16 after the embedding where their weights are bfloat16.
- A pass with `use_cache=False` reads the keys and values of the prefix without adding its own to them.
- Gemma's norms take a condition. π0 has none, π0.5 has.

`supplied` replaces these routines while it is active. `tests/test_export_pi0.py` compares the actions with those of
LeRobot on the files of openpi.
"""

from contextlib import ExitStack, contextmanager
from types import ModuleType
from unittest import mock

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models import siglip
from transformers.models.gemma.modeling_gemma import GemmaModel
from transformers.models.paligemma.modeling_paligemma import PaliGemmaModel
from transformers.models.siglip.modeling_siglip import SiglipEncoder


class Prefix:
    """Keys and values of the prefix by layer. `update` returns the keys and values of a layer, as transformers' caches do."""

    def __init__(self):
        self.layers = {}
        self.filling = True

    def update(self, keys, values, layer, _arguments=None):
        if self.filling:
            self.layers[layer] = (keys, values)
            return keys, values
        before = self.layers[layer]
        return torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)


def gemma(self, inputs_embeds, attention_mask, position_ids, past_key_values=None, use_cache=False, adarms_cond=None):
    """Replaces `GemmaModel.forward`. The mask is added to the attention's logits as it is."""
    if adarms_cond is not None:
        raise ValueError("adarms_cond: found a condition; valid is none, which is that of π0")
    hidden = lowered(inputs_embeds, self.layers[0].self_attn.q_proj.weight.dtype)
    prefix = Prefix() if past_key_values is None else past_key_values
    prefix.filling = use_cache
    embedding = self.rotary_emb(hidden, position_ids)
    for layer in self.layers:
        hidden = layer(
            hidden, attention_mask=attention_mask, past_key_values=prefix, position_embeddings=embedding
        )
    return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden), past_key_values=prefix if use_cache else None)


def image_features(self, pixel_values):
    """Replaces `PaliGemmaModel.get_image_features`."""
    return self.multi_modal_projector(self.vision_tower(pixel_values).last_hidden_state)


def lowered(hidden, dtype):
    """Returns a tensor in bfloat16 where the weights have that type, and else unchanged."""
    return hidden.to(torch.bfloat16) if dtype == torch.bfloat16 else hidden


@contextmanager
def supplied():
    """Replaces, while active, transformers' routines by those above, and satisfies LeRobot's check for them."""
    encode = SiglipEncoder.forward

    def encoder(self, inputs_embeds, *arguments, **named):
        return encode(self, lowered(inputs_embeds, self.layers[0].self_attn.q_proj.weight.dtype), *arguments, **named)

    check = ModuleType("transformers.models.siglip.check")
    check.check_whether_transformers_replace_is_installed_correctly = lambda: True
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(siglip, "check", check, create=True))
        stack.enter_context(mock.patch.object(GemmaModel, "forward", gemma))
        stack.enter_context(mock.patch.object(PaliGemmaModel, "get_image_features", image_features))
        stack.enter_context(mock.patch.object(SiglipEncoder, "forward", encoder))
        yield
