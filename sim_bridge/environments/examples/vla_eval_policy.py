"""vla-eval's own runner on native LIBERO, with a small policy served by vla-eval's own server in this process.

    pip install vla-eval==0.8.0
    python vla_eval_policy.py

Replace `Still` by a model server of yours, or run `vla-eval run` with the benchmark below and one of vla-eval's.
"""

import numpy as np
from vla_eval import evaluate
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.specs import GRIPPER_CLOSE_POS, IMAGE_RGB, LANGUAGE, POSITION_DELTA, ROTATION_AA, STATE_EEF_POS_AA_GRIP


class Still(PredictModelServer):
    """Lowers the open gripper."""

    def predict(self, obs, ctx):
        assert obs["images"]["agentview"].shape == (256, 256, 3) and np.shape(obs["states"]) == (8,)
        return {"actions": np.array([0.0, 0.0, -0.3, 0.0, 0.0, 0.0, -1.0], dtype=np.float32)}

    def get_action_spec(self):
        return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": GRIPPER_CLOSE_POS}

    def get_observation_spec(self):
        return {"agentview": IMAGE_RGB, "language": LANGUAGE, "state": STATE_EEF_POS_AA_GRIP}


benchmark = {
    "benchmark": "aegis_libero.vla_eval:AegisLIBEROBenchmark",
    "mode": "sync",
    "episodes_per_task": 1,
    "max_tasks": 2,
    "params": {"suite": "libero_spatial", "send_state": True, "max_steps": 5},
}
(result,) = evaluate(Still(), {"benchmarks": [benchmark]}, docker=False, no_save=True)
for task in result["tasks"]:
    print(task["task"], [episode["metrics"]["success"] for episode in task["episodes"]], task["avg_steps"])
assert result["num_errors"] == 0
