"""What a plant announces of its observations and actions, and the values of an observation in the announced order. Pure."""

import math

FEATURES, CHANNELS, COMPONENTS, VALUES, TEXT = 1024, 64, 4096, 65_536, 512  # The protocol's bounds.
DTYPES = ("float64", "float32", "int64", "uint8", "bool")
KINDS = ("tensor", "rgb")
EXAMPLE = 'features = [vector("joint_positions", ["joint1", "joint2"], "rad")]'


def vector(name: str, names: list, semantics: str = "") -> dict:
    """Returns the feature of a vector with named components; `semantics` is its unit and frame, in words."""
    return tensor(name, [len(names)], names, semantics)


def tensor(name: str, shape: list, names: list = (), semantics: str = "", dtype: str = "float64") -> dict:
    """Returns the feature of an array; `names` are those of the components along the last axis, or none."""
    shape = list(shape) if isinstance(shape, list | tuple) else shape  # Anything else is refused by name, when it is announced.
    return {"name": name, "shape": shape, "dtype": dtype, "kind": "tensor", "names": list(names), "semantics": semantics}


def camera(name: str, height: int, width: int) -> dict:
    """Returns the feature of a camera's pictures, `[height, width, 3]`, which the plant's method `frames` returns."""
    colours = {"names": ["red", "green", "blue"], "semantics": "sRGB, row 0 at the top"}
    return {"name": name, "shape": [height, width, 3], "dtype": "uint8", "kind": "rgb", **colours}


def channel(name: str, semantics: str = "", bounds: tuple = (-math.inf, math.inf), still: float | None = None) -> dict:
    """Returns a channel of an action. `still` is the value at which it stands still; None for a position, which stands still where
    it is."""
    return {"name": name, "semantics": semantics, "bounds": list(bounds), "still": still}


def announcement(plant) -> dict:
    """Returns what a plant announces now: its attributes `features` and `channels`. Raises TypeError, which names the field, for
    what no plant can announce."""
    name = type(plant).__name__
    features, channels = getattr(plant, "features", None), getattr(plant, "channels", ())
    if not isinstance(features, list | tuple) or not features:
        found = "none" if features is None else repr(features)[:80]
        valid = f"a list of what its observations hold, as `{EXAMPLE}` (aegis_schema.py)"
        raise TypeError(f"{name}.features: found {found}; valid is {valid}")
    try:
        checked = {"features": [dict(one) for one in features], "actions": [dict(one) for one in channels]}
        _check_features(checked["features"])
        _check_channels(checked["actions"], plant.action_width)
    except (ValueError, TypeError, KeyError) as error:
        what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise TypeError(f"{name}: {what}") from None
    return checked


def packed(features: list, values) -> list:
    """Returns the values of an observation as one list, in the order of the features. `values` is a map from the name of each
    feature of kind `tensor` to its numbers, as lists or arrays of numpy. Raises ValueError, which names the feature."""
    tensors = [feature for feature in features if feature["kind"] == "tensor"]
    names = [feature["name"] for feature in tensors]
    if not isinstance(values, dict):
        raise ValueError(f"values: found {type(values).__name__}, expected a map of {', '.join(names)}")
    for name in values:
        if name not in names:
            raise ValueError(f"values: unknown feature {name!r:.80}, expected {', '.join(names)}")
    whole = []
    for feature in tensors:
        name, shape = feature["name"], feature["shape"]
        if name not in values:
            raise ValueError(f"values: feature {name} is missing")
        try:
            numbers = [float(number) for number in _flat(values[name])]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"values.{name}: found {values[name]!r:.80}, expected numbers of shape {shape}") from None
        if len(numbers) != math.prod(shape):
            raise ValueError(f"values.{name}: found {len(numbers)} values, expected shape {shape}")
        whole += numbers
    return whole


def _flat(found):
    found = found.tolist() if hasattr(found, "tolist") else found
    if isinstance(found, list | tuple):
        for part in found:
            yield from _flat(part)
    elif isinstance(found, str | bytes | None):
        raise TypeError
    else:
        yield found


def _check_features(features: list) -> None:
    if len(features) > FEATURES:
        raise ValueError(f"features: found {len(features)}; valid is at most {FEATURES}")
    total = 0
    for index, feature in enumerate(features):
        place = f"features[{index}]"
        if set(feature) != {"name", "shape", "dtype", "kind", "names", "semantics"}:
            raise ValueError(f"{place}: found keys {sorted(feature)}; valid are name, shape, dtype, kind, names, semantics")
        _check_text(f"{place}.name", feature["name"], 1)
        _check_text(f"{place}.semantics", feature["semantics"], 0)
        _check_once(f"{place}.name", feature["name"], features[:index])
        for key, valid in (("dtype", DTYPES), ("kind", KINDS)):
            if feature[key] not in valid:
                raise ValueError(f"{place}.{key}: found {feature[key]!r:.80}; valid is {', '.join(valid)}")
        shape = feature["shape"]
        if not isinstance(shape, list) or not 1 <= len(shape) <= 8 or not all(type(size) is int and size > 0 for size in shape):
            valid = "one to eight whole numbers above 0" + ("" if isinstance(shape, list) and shape else ", as [1] for one number without axes")
            raise ValueError(f"{place}.shape: found {shape!r:.80} of feature {feature['name']!r:.80}; valid are {valid}")
        if feature["kind"] == "rgb" and (len(shape), shape[-1], feature["dtype"]) != (3, 3, "uint8"):
            raise ValueError(f"{place}.shape: found {shape} of {feature['dtype']}; valid is [height, width, 3] of uint8")
        names = feature["names"]
        if names and len(names) != shape[-1] or len(names) > COMPONENTS:
            raise ValueError(f"{place}.names: found {len(names)}; valid is {shape[-1]}, one for each component, or none")
        for component in names:
            _check_text(f"{place}.names", component, 1)
        total += math.prod(shape) if feature["kind"] == "tensor" else 0
        if total > VALUES:
            raise ValueError(f"{place}.shape: found {total} values so far; valid is at most {VALUES} of all features")


def _check_channels(channels: list, width: int) -> None:
    if channels and len(channels) != width:
        raise ValueError(f"channels: found {len(channels)}; valid is {width}, the action_width, or none")
    for index, one in enumerate(channels):
        place = f"channels[{index}]"
        if set(one) != {"name", "semantics", "bounds", "still"}:
            raise ValueError(f"{place}: found keys {sorted(one)}; valid are name, semantics, bounds, still")
        _check_text(f"{place}.name", one["name"], 1)
        _check_text(f"{place}.semantics", one["semantics"], 0)
        _check_once(f"{place}.name", one["name"], channels[:index])
        low, high = one["bounds"] = [float(bound) for bound in one["bounds"]]
        if not low <= high:
            raise ValueError(f"{place}.bounds: found {one['bounds']}; valid is the smaller one first")
        if one["still"] is not None:
            one["still"] = float(one["still"])
            if not math.isfinite(one["still"]):
                raise ValueError(f"{place}.still: found {one['still']}; valid is a finite number, or None")


def _check_once(place: str, name: str, earlier: list) -> None:
    if any(one["name"] == name for one in earlier):
        raise ValueError(f"{place}: found {name!r} twice; valid is each name once")


def _check_text(place: str, text, least: int) -> None:
    is_text = isinstance(text, str) and least <= len(text.encode()) <= TEXT
    if not is_text or any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text):
        raise ValueError(f"{place}: found {text!r:.80}; valid is text of {least} to {TEXT} bytes without control characters")
