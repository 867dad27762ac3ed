"""Producers of frames that cost little beside what they feed: many entries in one write, in a process of their own."""

import multiprocessing
import signal
import time

import redis_server


def answered(client, shards=32):
    """Answers that were ever stored."""
    for shard in range(shards):
        client.send("XINFO", "STREAM", f"{redis_server.tag(shard)}:results")
    count = 0
    for _ in range(shards):
        reply = client.receive()
        if isinstance(reply, list):
            count += dict(zip(reply[::2], reply[1::2]))[b"entries-added"]
    return count


def _words(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _entry_begins(camera, picture, most):
    """An XADD up to the numbers of the frame. `picture`: bytes, or the text of a handle."""
    field = "picture" if isinstance(picture, bytes) else "frame"
    words = ["XADD", redis_server.frames_key(camera), "MAXLEN", "~", most, "*", field, picture, "epoch", "1", "seq"]
    return b"*%d\r\n" % (len(words) + 3) + _words(*words)


def _entry_ends(seq):
    return _words(seq, "time", int(time.time() * 1000))


def _write(client, entries):
    """Writes them, and reads all answers: two lines each."""
    for at in range(0, len(entries), 64):
        some = entries[at:at + 64]
        client.socket.sendall(b"".join(some))
        lines = 0
        while lines < 2 * len(some):
            data = client.socket.recv(65536)
            if not data:
                raise ConnectionError("Redis has closed the connection")
            lines += data.count(b"\n")


class _Producer:
    def __init__(self, *arguments):
        self.process = multiprocessing.get_context("fork").Process(target=self.begin, args=arguments, daemon=True)
        self.process.start()

    def stop(self):
        self.process.kill()
        self.process.join()

    def begin(self, *arguments):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.run(*arguments)


class Flood(_Producer):
    """Each camera has one to three frames more than were answered, whatever that takes."""

    def run(self, path, cameras, picture):
        client = redis_server.Client(path)
        begins = [_entry_begins(camera, picture, 1_000) for camera in cameras]
        written, seq = 0, 0
        while True:
            if written - answered(client) > 2 * len(cameras):
                time.sleep(0.01)
                continue
            seq += 1
            ends = _entry_ends(seq)
            _write(client, [begin + ends for begin in begins])
            written += len(begins)


class Paced(_Producer):
    """Each camera at its rate, as frames a second by name. `clip`: its pictures, which are shown again and again; each
    camera begins somewhere else."""

    def run(self, path, cameras, rates, clip):
        client = redis_server.Client(path)
        entries_of = {picture: {camera: _entry_begins(camera, picture, 100) for camera in cameras}
                      for picture in set(clip)}
        offsets = {camera: number * len(clip) // len(cameras) for number, camera in enumerate(cameras)}
        start = time.monotonic()
        due = {camera: start + number / len(cameras) / rates[camera] for number, camera in enumerate(cameras)}
        seq = dict.fromkeys(cameras, 0)
        while True:
            now = time.monotonic()
            entries = []
            for camera, at in due.items():
                while at <= now:
                    seq[camera] += 1
                    picture = clip[(offsets[camera] + seq[camera]) % len(clip)]
                    entries.append(entries_of[picture][camera] + _entry_ends(seq[camera]))
                    at += 1 / rates[camera]
                due[camera] = at
            _write(client, entries)
            time.sleep(max(0.0, 0.02 - (time.monotonic() - now)))
