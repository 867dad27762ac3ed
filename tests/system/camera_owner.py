"""Plays the owner of the shards: writes to Redis what ingest processes would."""

import json
import threading
import time

import pictures
from redis_server import RedisServer, shard_of, tag

FOUND = {"model": {"name": "objects", "version": "1"}, "image": {"width": 640, "height": 480},
         "detections": [{"box": {"x1": 1.0, "y1": 2.0, "x2": 300.0, "y2": 400.0}, "confidence": 0.9,
                         "class_id": 0, "class_name": "person"}]}
NOTHING = {**FOUND, "detections": []}
JPEG = pictures.plain(64, 48, "JPEG")


def settings(redis, **more):
    return {"streams.redis": redis.address, "streams.workers": 1, "streams.model": "shapes", "workers": 1,
            "nginx.rate_per_s": 0, **more}


def key(camera, what):
    """"{s07}:results", or "{s07}:snap:door-3" for a `what` that ends in a colon."""
    return f"{tag(shard_of(camera))}:{what}" + (camera if what.endswith(":") else "")


class Owner:
    """Answers frames as an ingest process does."""

    def __init__(self, redis):
        self.redis = redis
        self.lock = threading.Lock()
        self.client = None
        self.seq = 0

    def __call__(self, *words):
        with self.lock:
            try:
                self.client = self.client or self.redis.connect()
                return self.client(*words)
            except OSError:
                self.close()
                raise

    def close(self):
        if self.client is not None:
            self.client.close()
        self.client = None

    def answer(self, camera, members=None, status=200, age_ms=0):
        self.seq += 1
        now = int(time.time() * 1000) - age_ms
        fields = {"camera": camera, "frame": f"{now}-0", "seq": self.seq, "status": status,
                  "json": json.dumps(FOUND if members is None else members), "captured": now - 120,
                  "read": now - 60, "answered": now}
        return self("XADD", key(camera, "results"), "*", *(part for field in fields.items() for part in field)).decode()

    def name(self, *cameras):
        self("SADD", "inferpool:cameras", *cameras)

    def ledger(self, camera, **counts):
        self("HSET", key(camera, "ledger"),
             *(part for name, count in counts.items() for part in (f"{camera}:{name}", count)))

    def is_looked_at(self, camera):
        return self("EXISTS", key(camera, "look:")) == 1

    def snapshot(self, camera, picture=JPEG):
        self("SET", key(camera, "snap:"), picture, "PX", 10_000)


def start_redis(cleanup):
    """One that keeps what it was told when it is killed."""
    redis = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    cleanup(redis.destroy)
    return redis
