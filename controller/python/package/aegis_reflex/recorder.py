"""Recording activations of a PyTorch module, in the layout that `fit_probe` and `aegis probe fit --rollouts` read."""

from os import PathLike

import numpy as np

__all__ = ["ActivationRecorder"]


class ActivationRecorder:
    """A context manager around a PyTorch module whose output is pooled at each call, by a forward hook.

        with ActivationRecorder(policy.model.decoder.layers[-1]) as recorder:
            for episode in range(100):
                recorder.begin(task="put the bowl on the plate", start=episode)
                while not done:
                    actions = policy.select_action(batch)      # runs the module at each inference
                    recorder.boundary(step)                    # once after each inference
                    ...
                recorder.end(success)
            recorder.save("rollouts.npz")

    The pooled activation is the mean over all axes but the last, float32 `[width]`. Needs PyTorch; nothing of it is imported here.
    """

    def __init__(self, module):
        self._module, self._hook, self._pooled = module, None, None
        self._episode, self._pending = None, []
        self._rows = {name: [] for name in ("task", "episode", "start", "step", "success", "activation")}

    def __enter__(self) -> "ActivationRecorder":
        self._hook = self._module.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_) -> None:
        self._hook.remove()
        self._hook = None

    def _keep(self, _module, _inputs, output) -> None:
        output = output[0] if isinstance(output, tuple) else output
        values = output.detach().float().cpu().numpy()
        self._pooled = values.reshape(-1, values.shape[-1]).mean(axis=0)

    @property
    def pooled(self) -> np.ndarray:
        """The pooled activation of the module's newest call, float32 `[width]`, as `Guard.boundary` takes it."""
        if self._pooled is None:
            raise RuntimeError("the module was not run since the last boundary; valid is one inference before each boundary")
        return self._pooled

    def begin(self, *, task: int | str = 0, start: int | str | None = None) -> None:
        """Begins an episode. `start` names its initial state; each episode is a start of its own where it is None."""
        if self._episode is not None:
            raise RuntimeError("an episode is on; valid is end(success) before the next begins")
        number = 0 if not self._rows["episode"] else self._rows["episode"][-1] + 1
        self._episode, self._pending = (task, number, number if start is None else start), []
        self._pooled = None

    def boundary(self, step: int) -> np.ndarray:
        """Records the activation of the inference before this call, made at control step `step`; returns it."""
        if self._episode is None:
            raise RuntimeError("no episode is on; valid is begin() before its first boundary")
        pooled, self._pooled = self.pooled, None
        self._pending.append((step, pooled))
        return pooled

    def end(self, success: bool) -> None:
        """Ends the episode with its outcome; an episode that is not ended is not recorded."""
        if self._episode is None:
            raise RuntimeError("no episode is on; valid is begin() before end()")
        task, number, start = self._episode
        for step, pooled in self._pending:
            for name, value in zip(self._rows, (task, number, start, step, bool(success), pooled)):
                self._rows[name].append(value)
        self._episode, self._pending = None, []

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the columns of all ended episodes, as `fit_probe` takes them."""
        return {name: np.array(values) for name, values in self._rows.items()}

    def save(self, path: str | PathLike) -> None:
        """Writes the columns as an `.npz` file."""
        np.savez(path, **self.columns())
