"""Time an exported policy in ONNX Runtime beside the same policy in PyTorch, on the same inputs, in turns.

    python inference_time.py smolvla --checkpoint DIR --model ../models/smolvla.onnx --count 10

Both run on the CPU in float32 with the same number of threads; PyTorch also in the precision in which LeRobot loads the
weights. The path is LeRobot's whole one: pre-processor, `predict_action_chunk`, post-processor. Prints the median and
the range of seconds by the clock, and the median of the CPU's seconds, which other programs disturb less.
"""

import argparse
import json
import logging
import statistics
import sys
import time
import warnings
from contextlib import nullcontext, redirect_stdout
from pathlib import Path


def timed(function):
    """Returns the seconds of a call, by the clock and of the CPU."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processor


def summary(seconds):
    """Returns median and range of the calls after the first, which allocates memory."""
    clock, processor = zip(*seconds[1:], strict=True)
    return {
        "count": len(clock),
        "seconds": round(statistics.median(clock), 3),
        "least": round(min(clock), 3),
        "greatest": round(max(clock), 3),
        "cpu_seconds": round(statistics.median(processor), 3),
    }


def measure(given):
    """Returns the summary of each way to run the policy."""
    import onnxruntime
    import torch
    from exporter import checkpoint, graph, openpi, parity

    torch.set_num_threads(given.threads)
    with openpi.supplied() if given.policy == "pi0" else nullcontext():
        loaded = checkpoint.load(given.policy, given.checkpoint, given.vlm)
        sample = parity.samples(loaded, graph.inputs(loaded), given.task, count=1)[0]
        torch_runs = {}

        def in_torch():
            noise = {} if sample.noise is None else {graph.NOISE: sample.noise.clone()}
            with torch.no_grad():
                chunk = loaded.policy.predict_action_chunk(loaded.preprocessor(dict(sample.batch)), **noise)
                loaded.postprocessor(chunk)

        if loaded.low_precision:
            name = f"torch_{'_'.join(loaded.low_precision)}"
            torch_runs[name] = summary([timed(in_torch) for _ in range(given.count + 1)])
        loaded.policy.float()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = given.threads, 1
        options.log_severity_level = 3
        opened = onnxruntime.InferenceSession(str(given.model), options, providers=["CPUExecutionProvider"])
        rounds = [
            (timed(in_torch), timed(lambda: parity.run(opened, sample.tensors))) for _ in range(given.count + 1)
        ]
        found = {"torch_float32": summary([one for one, _ in rounds]), "onnx": summary([one for _, one in rounds])}
        return {"threads": given.threads, **torch_runs, **found}


def main():
    """Prints the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=("act", "smolvla", "pi0"))
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the exported .onnx")
    parser.add_argument("--vlm", type=Path, metavar="DIR", help="as for export_lerobot.py")
    parser.add_argument("--task", action="append", default=[], help="instruction; default one of the exporter's own")
    parser.add_argument("--count", type=int, default=10, help="inferences that count, after one that does not")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):
        found = measure(given)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
