#!/usr/bin/python3
"""Consumers of cameras' frames as one writes them in Python: redis, OpenCV, grpc.

    task     asyncio, one task for each camera: wait for a frame, decode, letterbox, ask, store, delete
    sharded  a process for each processor with its share of the cameras: reads up to 16 frames at a time, asks about
             them in one batch, stores and deletes in one pipeline

Both write the answers where ours writes them.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/system"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/system/conformance"))

import redis_server  # noqa: E402

SIDE = 640


def start(kind, socket, cameras, state):
    """The processes, which run until they are killed."""
    count = 1 if kind == "task" else len(os.sched_getaffinity(0))
    return [subprocess.Popen([sys.executable, "-B", __file__, kind, str(socket), f"unix:{state}/modelserver.sock",
                              *cameras[number::count]], stdin=subprocess.DEVNULL) for number in range(count)]


def letterbox(picture):
    import cv2
    import numpy as np
    bgr = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    height, width = bgr.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    inside = cv2.resize(bgr, (round(width * scale), round(height * scale)))
    canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
    top, left = (SIDE - inside.shape[0]) // 2, (SIDE - inside.shape[1]) // 2
    canvas[top:top + inside.shape[0], left:left + inside.shape[1]] = inside
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1), np.float32) / 255


def request(rows):
    import numpy as np
    from kserve import pb
    batch = np.stack(rows)
    message = pb.ModelInferRequest(model_name="null", raw_input_contents=[batch.tobytes()])
    message.inputs.add(name="images", datatype="FP32", shape=batch.shape)
    return message


def fields(camera, entry, frame, answer, row, read):
    import json
    import numpy as np
    scores = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(-1, 3)[row]
    return {"camera": camera, "frame": entry, "seq": frame[b"seq"], "status": 200,
            "json": json.dumps({"scores": scores.tolist()}), "captured": frame[b"time"], "read": read,
            "answered": int(time.time() * 1000)}


def results_key(camera):
    return f"{redis_server.tag(redis_server.shard_of(camera))}:results"


async def task(socket, target, cameras):
    import asyncio
    import grpc
    import redis.asyncio
    from kserve import pb
    server = redis.asyncio.Redis(unix_socket_path=socket)
    channel = grpc.aio.insecure_channel(target, options=[("grpc.max_send_message_length", -1)])
    ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer",
                              request_serializer=pb.ModelInferRequest.SerializeToString,
                              response_deserializer=pb.ModelInferResponse.FromString)

    some = asyncio.Semaphore(16)  # a thousand frames as floats are five gigabytes

    async def follow(camera):
        key, last = redis_server.frames_key(camera), "0-0"
        while True:
            for _, entries in await server.xread({key: last}, count=1, block=5000):
                for entry, frame in entries:
                    last, read = entry, int(time.time() * 1000)
                    async with some:
                        answer = await ask(request([letterbox(frame[b"picture"])]))
                    await server.xadd(results_key(camera), fields(camera, entry, frame, answer, 0, read), maxlen=90_000)
                    await server.xdel(key, entry)
    await asyncio.gather(*(follow(camera) for camera in cameras))


def sharded(socket, target, cameras):
    import grpc
    import redis
    from kserve import pb
    server = redis.Redis(unix_socket_path=socket)
    channel = grpc.insecure_channel(target, options=[("grpc.max_send_message_length", -1)])
    ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer",
                              request_serializer=pb.ModelInferRequest.SerializeToString,
                              response_deserializer=pb.ModelInferResponse.FromString)
    by_key = {redis_server.frames_key(camera): camera for camera in cameras}
    for key in by_key:
        server.xgroup_create(key, "python", "0", mkstream=True)
    keys = list(by_key)
    while True:
        some, keys = keys[:16], keys[16:] + keys[:16]  # in turn, or the first ones starve the others
        found = server.xreadgroup("python", "owner", dict.fromkeys(some, ">"), count=1, block=10)
        frames = [(by_key[key.decode()], entry, frame) for key, entries in found for entry, frame in entries]
        if not frames:
            continue
        read = int(time.time() * 1000)
        answer = ask(request([letterbox(frame[b"picture"]) for _, _, frame in frames]))
        with server.pipeline(transaction=False) as pipeline:
            for row, (camera, entry, frame) in enumerate(frames):
                key = redis_server.frames_key(camera)
                pipeline.xadd(results_key(camera), fields(camera, entry, frame, answer, row, read), maxlen=90_000)
                pipeline.xack(key, "python", entry)
                pipeline.xdel(key, entry)
            pipeline.execute()


if __name__ == "__main__":
    kind, socket, target, *cameras = sys.argv[1:]
    if kind == "task":
        import asyncio
        asyncio.run(task(socket, target, cameras))
    else:
        sharded(socket, target, cameras)
