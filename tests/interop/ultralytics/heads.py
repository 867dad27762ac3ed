"""What an exported net puts out, served by our model server, as torch computes it, for one picture and for three
requests that one run answers together.

To 1e-3, against torch with doubles. Weights by chance make some nets magnify what floats round; of those as near
as torch with floats comes, four times over.
"""

import copy
import sys
import threading
from pathlib import Path

import numpy as np
import torch
from tritonclient.grpc import service_pb2 as pb

sys.path.append(str(Path(__file__).resolve().parents[1]))
from model_server import ModelServer  # noqa: E402

ROWS = 3
TOLERANCE = 1e-3  # absolute and relative: boxes are in pixels
SLACK = 4  # times what torch itself loses by floats
# Rows that wait for each other, so that they share a run.
JOINED = f"""dynamic_batching {{ preferred_batch_size: [ {ROWS} ] max_queue_delay_microseconds: 2000000 }}
instance_group {{ count: 1 }}"""


def tensors(value):
    """All tensors of a net's nested output."""
    if isinstance(value, torch.Tensor):
        return [value.numpy()]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in tensors(each)] if isinstance(value, (list, tuple)) else []


class Net:
    """Torch's net, with doubles and with floats."""

    def __init__(self, net, ranked):
        """`ranked`: its rows are in the order of their scores, so that those that score the same may stand either
        way, and the last may be another."""
        self.net, self.ranked = copy.deepcopy(net).eval(), ranked
        self.exact = copy.deepcopy(self.net).double()

    def difference(self, answer, pictures):
        """Why the server's answer to `pictures` is not the net's; "" when it is."""
        with torch.no_grad():
            exact = tensors(self.exact(torch.from_numpy(pictures.astype(np.float64))))
            floats = tensors(self.net(torch.from_numpy(pictures)))
        for name, array in answer.items():
            alike = [(known, SLACK * self.apart(own, known)) for known, own in zip(exact, floats)
                     if known.shape == array.shape]
            if not alike:
                return f"{name} is {array.shape}, torch's are {[each.shape for each in exact]}"
            if not any(self.apart(array, known) <= max(TOLERANCE, slack) for known, slack in alike):
                return (f"{name} differs by {min(self.apart(array, known) for known, _ in alike):.4f} of 1 and its "
                        f"value, torch's floats by {min(slack for _, slack in alike) / SLACK:.4f}")
        return "" if answer else "no output"

    def apart(self, array, known):
        """How far the farthest value is from what is known."""
        if not self.ranked:
            return (np.abs(array - known) / (1 + np.abs(known))).max()
        nearest = [(np.abs(row - theirs) / (1 + np.abs(theirs))).max(-1).min()
                   for ours, theirs in zip(array, known) for row in ours]
        return np.quantile(nearest, 0.99)


def runs(server, model):
    """How often the model ran with how many rows."""
    statistics = server.stub.ModelStatistics(pb.ModelStatisticsRequest(name=model)).model_stats[0]
    return {batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats}


def together(server, model, name, pictures):
    """The answers to one request for each picture, all at once."""
    answers = [None] * len(pictures)

    def ask(i):
        answers[i] = server.infer(model, {name: pictures[i:i + 1]})

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in answers:
        raise RuntimeError("a request got no answer")
    return {key: np.concatenate([answer[key] for answer in answers]) for key in answers[0]}


def judge(server, model, net, pictures, dynamic):
    """Why the served model does not compute what `net` does; "": it does."""
    server.client.load_model(model)
    name = server.client.get_model_metadata(model).inputs[0].name
    for picture in pictures:
        why = net.difference(server.infer(model, {name: picture[None]}), picture[None])
        if why:
            return why
    if dynamic:
        before = runs(server, model)
        why = net.difference(together(server, model, name, pictures), pictures)
        if why:
            return f"{len(pictures)} in one run: {why}"
        if runs(server, model).get(len(pictures), 0) == before.get(len(pictures), 0):
            return f"{len(pictures)} requests were not joined into one run"
    server.client.unload_model(model)
    return ""


def compare(repository, nets, pictures):
    """`nets`: {model: (Net, the side of its picture, whether it takes batches)}; `pictures`: of a side, as the net
    takes them. Prints a line for each, and returns how many fall short."""
    for model, (_, _, dynamic) in nets.items():
        if dynamic:
            (repository / model / "config.pbtxt").write_text(JOINED)
    fallen = 0
    with ModelServer(repository) as server:
        for model, (net, side, dynamic) in nets.items():
            why = judge(server, model, net, pictures(side), dynamic)
            fallen += bool(why)
            print(f"    {model}, the net alone{f', {ROWS} in one run' if dynamic else ''}: {why or 'as torch'}",
                  flush=True)
    return fallen
