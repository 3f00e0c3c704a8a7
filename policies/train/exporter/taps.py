"""The layers that can be tapped, and the hook that reads one of them. The same hook is used on the policy as LeRobot runs
it and on the policy while it is traced, so the two can be compared.
"""

from contextlib import contextmanager

from . import ExportError

# Layers that a number on the command line counts.
STEMS = {"act": "decoder.layers", "smolvla": "lm_expert.layers", "pi0": "gemma_expert.layers"}


def layers(checkpoint):
    """Returns name → (module, `output` or `input` as the side of the tensor, whether the token axis precedes the batch axis).

    SmolVLA adds residuals outside its layers, so the output of a layer is read as the input of the next norm.
    """
    if checkpoint.kind == "act":
        model = checkpoint.policy.model
        found = {}
        for part, module in (("encoder", model.encoder), ("decoder", model.decoder)):
            for index, layer in enumerate(module.layers):
                found[f"{part}.layers.{index}"] = (layer, "output", True)
            if any(True for _ in module.norm.parameters()):
                found[f"{part}.norm"] = (module.norm, "output", True)
        return found
    if checkpoint.kind == "pi0":
        expert = checkpoint.policy.model.paligemma_with_expert.gemma_expert.model
        found = {f"{STEMS['pi0']}.{index}": (layer, "output", False) for index, layer in enumerate(expert.layers)}
        found["gemma_expert.norm"] = (expert.norm, "output", False)
        return found
    expert = checkpoint.policy.model.vlm_with_expert.lm_expert
    readers = [layer.input_layernorm for layer in expert.layers][1:] + [expert.norm]
    found = {f"lm_expert.layers.{index}": (reader, "input", False) for index, reader in enumerate(readers)}
    found["lm_expert.norm"] = (expert.norm, "output", False)
    return found


def resolve(checkpoint, name):
    """Returns the full name of a layer. A number is an index of the decoder's or the action expert's layers. None is the
    default: the decoder's last layer, or the expert's middle one.
    """
    valid = layers(checkpoint)
    stem = STEMS[checkpoint.kind]
    if name is None:
        count = sum(one.startswith(f"{stem}.") for one in valid)
        name = str(count - 1 if checkpoint.kind == "act" else count // 2)
    full = f"{stem}.{name}" if name.isdigit() else name
    if full not in valid:
        raise ExportError(f"--tap: found {name}; valid is {', '.join(valid)}, or a number for {stem}")
    return full


@contextmanager
def capture(checkpoint, name):
    """Yields a list to which each pass through the layer appends `[1, tokens, width]`."""
    module, side, tokens_first = layers(checkpoint)[name]
    seen = []

    def keep(tensor):
        seen.append(tensor.transpose(0, 1) if tokens_first else tensor)

    if side == "output":
        handle = module.register_forward_hook(lambda _module, _inputs, output: keep(output))
    else:
        handle = module.register_forward_pre_hook(lambda _module, inputs: keep(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
