"""The client of inferpool: one file for Python 3.9 or later that needs nothing but Python.

    from inferpool import Client, ProblemError

    client = Client("https://example.org/", key="...")
    answer = client.predict("objects", "photo.jpg", confidence=0.5)
    for thing in answer["detections"]:
        print(thing["class_name"], thing["box"])

A client may be used by any number of threads at once. It keeps its connections; close() or a `with`
closes them.

A call that meets 429, 502, 503, 504 or a connection that breaks sends its request again, after what
Retry-After says or a pause that grows, as long as its time (`timeout_s`), its budget of waiting
(`budget_s`) and its attempts are left: asking changes nothing on the server. What it raises at the end
is an InferpoolError. The time that is left is told to the server, which gives up with us; only the
look-up of the server's name is not bound to it.

Every call takes these, all of them by name:

    timeout_s    how long it may take in all, further attempts included
    attempts     how often it may send its request
    budget_s     how long it may wait between its attempts in all
    request_id   the id to know the request by in the server's logs
    cancel       a threading.Event: once it is set, the call raises CancelledError

and those that send pictures besides:

    priority     "high", "normal" or "low"
    on_progress  is called with the bytes that have left and all bytes, from 0 again at each attempt;
                 what it raises ends the call, which raises it

Further names are parameters of the request, as the server's documentation has them. Lists are sent
with commas; confidence={"person": 0.6} is confidence.person=0.6.
"""

from __future__ import annotations

import email.utils
import http.client
import io
import json
import math
import os
import random
import secrets
import selectors
import socket
import ssl
import threading
import time
import urllib.parse
from typing import (Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, Literal, Mapping, NamedTuple,
                    Optional, Tuple, TypedDict, TypeVar, Union, overload)

__version__ = "0.1.0"

Picture = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", BinaryIO]
Priority = Literal["high", "normal", "low"]
Progress = Callable[[int, int], None]

_MAY_PASS = (429, 502, 503, 504)
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_MAX_IDLE = 16  # connections that are kept
_PART_BYTES = 1 << 16
_LOOK_S = 0.1  # how often a call that waits looks whether it is cancelled
_LONGEST_S = 1e6  # of a call; sockets and selectors take no time that is much longer

_T = TypeVar("_T")


# ------------------------------------------------------------ errors


class InferpoolError(Exception):
    """Whatever a call can end with. `code` is what programs compare: a ProblemCode, or one of
    "connection-failed", "deadline-exceeded", "unexpected-answer" and "cancelled"."""

    def __init__(self, code: str, title: str, detail: str = "", *, status: int = 0, request_id: str = "",
                 retry_after_s: float = 0.0):
        super().__init__(f"{title}: {detail}" if detail else title)
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status  # of the answer; 0 without one
        self.request_id = request_id  # by which it is found in the server's logs
        self.retry_after_s = retry_after_s  # what the answer asked to wait for
        self.attempts = 0  # how often the request was sent


class ProblemError(InferpoolError):
    """The server said what is wrong."""

    code: ProblemCode

    def __init__(self, problem: Mapping[str, Any], **more: Any):
        told = {name: value for name, value in problem.items() if isinstance(value, str)}
        super().__init__(told["code"], told.get("title", told["code"]), told.get("detail", ""), **more)
        self.type: str = told.get("type", "")
        self.parameter: Optional[str] = told.get("parameter")


class UnexpectedAnswerError(InferpoolError):
    """An answer came that is not of this API: of a proxy, for one."""

    def __init__(self, status: int, detail: str = "", **more: Any):
        super().__init__("unexpected-answer", "The server's answer makes no sense",
                         detail or f"It has status {status} and is not of this API.", status=status, **more)


class ConnectionFailedError(InferpoolError):
    """No whole answer came: there was no connection, or it broke."""

    def __init__(self, why: Exception):
        super().__init__("connection-failed", "The server cannot be reached", str(why) or type(why).__name__)


class DeadlineError(InferpoolError):
    """The call's time was over."""

    def __init__(self, timeout_s: float):
        super().__init__("deadline-exceeded", "There was no answer in time",
                         f"The whole of it had to be there within {timeout_s:g} s.")


class CancelledError(InferpoolError):
    """The call's `cancel` was set."""

    def __init__(self) -> None:
        super().__init__("cancelled", "The call was cancelled")


class _Stopped(Exception):
    """What a call's on_progress raised, which is none of the connection's errors, whatever its type."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error


# ------------------------------------------------------------ one call's time


class _Options(NamedTuple):
    timeout_s: Optional[float]
    attempts: Optional[int]
    budget_s: Optional[float]
    request_id: Optional[str]
    cancel: Optional[threading.Event]
    priority: Optional[str] = None
    on_progress: Optional[Progress] = None


class _Limit:
    """When a call has to end."""

    def __init__(self, timeout_s: float, cancel: Optional[threading.Event]):
        self.timeout_s = min(_LONGEST_S, timeout_s)
        self.end = time.monotonic() + self.timeout_s
        self.cancel = cancel

    def left(self) -> float:
        """The seconds that are left; raises when there are none."""
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError()
        left = self.end - time.monotonic()
        if left <= 0:
            raise DeadlineError(self.timeout_s)
        return left

    def look(self) -> float:
        """The seconds that a step may wait before it asks again; raises as left() does."""
        left = self.left()
        return left if self.cancel is None else min(left, _LOOK_S)

    def sleep(self, seconds: float) -> None:
        if self.cancel is None:
            time.sleep(seconds)
        elif self.cancel.wait(seconds):
            raise CancelledError()


# ------------------------------------------------------------ connections


def _within(limit: _Limit, connected: socket.socket, act: Callable[[], _T]) -> _T:
    """Does something with a socket that may be begun again after a timeout, until it is done."""
    while True:
        connected.settimeout(limit.look())
        try:
            return act()
        except socket.timeout:
            continue


class _Wire:
    """A socket of which each step is bound to the limit of the call that has it. In place of a socket
    within http.client, which needs no more of it than this."""

    def __init__(self, connected: socket.socket, limit: _Limit):
        self.socket = connected
        self.limit = limit

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[_within(self.limit, self.socket, lambda: self.socket.send(rest)):]

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), _PART_BYTES)

    def close(self) -> None:
        """http.client closes it when its answer is still to be read; _Connection.end() closes the socket."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, wire: _Wire):
        super().__init__(host, port)
        self.auto_open = 0
        self.wire = wire
        self.sock: Any = wire

    def end(self) -> None:
        self.close()
        self.wire.socket.close()


class _Reader(io.RawIOBase):
    def __init__(self, wire: _Wire):
        super().__init__()
        self.wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return _within(self.wire.limit, self.wire.socket, lambda: self.wire.socket.recv_into(buffer))


class _Pool:
    """The connections to one server that nobody uses at the moment. For any number of threads."""

    def __init__(self, url: urllib.parse.SplitResult, context: Optional[ssl.SSLContext]):
        self._host = url.hostname or ""
        self._port = url.port or (443 if context else 80)
        self._context = context
        self._lock = threading.Lock()
        self._idle: List[_Connection] = []

    def take(self, limit: _Limit) -> _Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect(limit)
            if not self._has_ended(connection):
                connection.wire.limit = limit
                return connection
            connection.end()

    def give(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.end()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.end()

    @staticmethod
    def _has_ended(connection: _Connection) -> bool:
        """An idle connection has something to read when the server closed it."""
        with selectors.DefaultSelector() as selector:
            selector.register(connection.wire.socket, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _connect(self, limit: _Limit) -> _Connection:
        connected = self._open(limit)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                secured = self._context.wrap_socket(connected, server_hostname=self._host,
                                                    do_handshake_on_connect=False)
                connected = secured
                _within(limit, secured, secured.do_handshake)
        except BaseException:
            connected.close()
            raise
        return _Connection(self._host, self._port, _Wire(connected, limit))

    def _open(self, limit: _Limit) -> socket.socket:
        failed: OSError = OSError(f"{self._host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            made = socket.socket(family, kind, protocol)
            try:
                self._reach(made, address, limit)
                return made
            except OSError as error:
                made.close()
                failed = error
            except InferpoolError:
                made.close()
                raise
        raise failed

    @staticmethod
    def _reach(made: socket.socket, address: Any, limit: _Limit) -> None:
        made.setblocking(False)
        try:
            made.connect(address)
        except BlockingIOError:
            pass
        with selectors.DefaultSelector() as selector:
            selector.register(made, selectors.EVENT_WRITE)
            while not selector.select(limit.look()):
                pass
        failed = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))


# ------------------------------------------------------------ what is sent and what comes


def _retry_after(headers: http.client.HTTPMessage) -> float:
    """What a Retry-After asks for: seconds, or a date, which is held against the server's own clock where
    the answer tells it. 0 for none, and for what cannot be read."""
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)

    def seconds(text: Optional[str]) -> Optional[float]:
        parsed = email.utils.parsedate_tz(text or "")
        try:
            return None if parsed is None else email.utils.mktime_tz(parsed)
        except (OverflowError, ValueError):  # there is no such day
            return None

    then, now = seconds(value), seconds(headers.get("Date"))
    return 0.0 if then is None else max(0.0, then - (time.time() if now is None else now))


def _pause(attempts: int, retry_after_s: float) -> float:
    """How long to wait after so many attempts: never less than the server asks for, and not as long as
    others who were refused at the same time."""
    own = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 10))
    return max(own * random.uniform(0.5, 1.0), retry_after_s * random.uniform(1.0, 1.25))


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _query(parameters: Mapping[str, Any]) -> str:
    pairs: List[Tuple[str, str]] = []

    def add(name: str, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, Mapping):
            for key, one in value.items():
                add(f"{name}.{key}", one)
        elif isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif isinstance(value, (list, tuple)):
            pairs.append((name, ",".join(map(str, value))))
        else:
            pairs.append((name, str(value)))

    for name, value in parameters.items():
        add(name, value)
    return "?" + urllib.parse.urlencode(pairs) if pairs else ""


def _bytes_of(picture: Picture) -> bytes:
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    if isinstance(picture, (str, os.PathLike)):
        with open(picture, "rb") as file:
            return file.read()
    return picture.read()


def _parts(body: bytes, on_progress: Optional[Progress]) -> Iterator[memoryview]:
    view = memoryview(body)
    for at in range(0, len(body), _PART_BYTES):
        yield view[at:at + _PART_BYTES]
        if on_progress is not None:
            try:
                on_progress(min(at + _PART_BYTES, len(body)), len(body))
            except Exception as error:
                raise _Stopped(error) from error


def _form(pictures: Iterable[bytes]) -> Tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="picture"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n").encode()
    parts = [part for picture in pictures for part in (head, picture, b"\r\n")]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _read(response: http.client.HTTPResponse, has: str) -> Any:
    """What a response says; raises a ProblemError or an UnexpectedAnswerError. `has`: the list that an answer
    has; "" for none."""
    body = response.read()
    status, headers = response.status, response.headers
    good = 200 <= status < 300
    if good and (headers.get("Content-Type") or "").startswith("image/"):
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if good and isinstance(value, dict) and (not has or isinstance(value.get(has), list)):
        return value
    told: Dict[str, Any] = {"request_id": headers.get("X-Request-ID") or "", "retry_after_s": _retry_after(headers)}
    if not good and isinstance(value, dict) and isinstance(value.get("code"), str):
        if isinstance(value.get("request_id"), str):
            told["request_id"] = value["request_id"]
        raise ProblemError(value, status=status, **told)
    if 300 <= status < 400 and headers.get("Location"):
        detail = (f"It has status {status} and leads to {headers['Location']}. The client does not go there with "
                  "pictures and keys: its `url` has to be the server's own address.")
        raise UnexpectedAnswerError(status, detail, **told)
    raise UnexpectedAnswerError(status, **told)


# ------------------------------------------------------------ the client


class Client:
    """`url`: where the server is, behind which path ever: "https://example.org/vision/". `cafile`: the
    certificate to trust where the system's are not enough; `context`: all of TLS' settings. `headers`:
    further ones of every request."""

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 60.0, attempts: int = 4, budget_s: float = 20.0,
                 headers: Optional[Mapping[str, str]] = None, cafile: Optional[str] = None,
                 context: Optional[ssl.SSLContext] = None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https address")
        self._path = parts.path.rstrip("/") + "/"
        self._defaults = (timeout_s, attempts, budget_s)
        self._headers = dict(headers or {})
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        if parts.scheme == "http":
            context = None
        elif context is None:
            context = ssl.create_default_context(cafile=cafile)
        self._pool = _Pool(parts, context)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that no call has at the moment."""
        self._pool.close()

    @overload
    def predict(self, model: str, picture: Picture, *, render: Literal["jpeg", "png"],
                timeout_s: Optional[float] = None, attempts: Optional[int] = None, budget_s: Optional[float] = None,
                request_id: Optional[str] = None, cancel: Optional[threading.Event] = None,
                priority: Optional[Priority] = None, on_progress: Optional[Progress] = None,
                **parameters: Any) -> bytes: ...

    @overload
    def predict(self, model: str, picture: Picture, *, render: Literal["json"] = "json",
                timeout_s: Optional[float] = None, attempts: Optional[int] = None, budget_s: Optional[float] = None,
                request_id: Optional[str] = None, cancel: Optional[threading.Event] = None,
                priority: Optional[Priority] = None, on_progress: Optional[Progress] = None,
                **parameters: Any) -> Prediction: ...

    def predict(self, model: str, picture: Picture, *, render: str = "json", timeout_s: Optional[float] = None,
                attempts: Optional[int] = None, budget_s: Optional[float] = None, request_id: Optional[str] = None,
                cancel: Optional[threading.Event] = None, priority: Optional[Priority] = None,
                on_progress: Optional[Progress] = None, **parameters: Any) -> Any:
        """What is in one picture: its file's bytes, its path, or a file that is open. With `render` "jpeg" or
        "png", the file of the picture with what was found drawn into it."""
        if render != "json":
            parameters["render"] = render
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel, priority, on_progress)
        path = f"v1/predict/{_quoted(model)}{_query(parameters)}"
        return self._call("POST", path, options, _bytes_of(picture), "application/octet-stream")

    def batch(self, model: str, pictures: Iterable[Picture], *, timeout_s: Optional[float] = None,
              attempts: Optional[int] = None, budget_s: Optional[float] = None, request_id: Optional[str] = None,
              cancel: Optional[threading.Event] = None, priority: Optional[Priority] = None,
              on_progress: Optional[Progress] = None, **parameters: Any) -> BatchAnswer:
        """What is in each of several pictures: each has its own result or problem, in their order."""
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel, priority, on_progress)
        body, content_type = _form(map(_bytes_of, pictures))
        path = f"v1/predict/{_quoted(model)}/batch{_query(parameters)}"
        answer: BatchAnswer = self._call("POST", path, options, body, content_type, has="results")
        return answer

    def analyze(self, picture: Picture, *, models: Optional[Iterable[str]] = None, timeout_s: Optional[float] = None,
                attempts: Optional[int] = None, budget_s: Optional[float] = None, request_id: Optional[str] = None,
                cancel: Optional[threading.Event] = None, priority: Optional[Priority] = None,
                on_progress: Optional[Progress] = None, **parameters: Any) -> Analysis:
        """What several models say of one picture, by default those that the server has chosen."""
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel, priority, on_progress)
        path = "v1/analyze" + _query({"models": None if models is None else list(models), **parameters})
        answer: Analysis = self._call("POST", path, options, _bytes_of(picture), "application/octet-stream")
        return answer

    def models(self, *, timeout_s: Optional[float] = None, attempts: Optional[int] = None,
               budget_s: Optional[float] = None, request_id: Optional[str] = None,
               cancel: Optional[threading.Event] = None) -> List[Model]:
        """The models that are ready."""
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel)
        answer: Models = self._call("GET", "v1/models", options, has="models")
        return answer["models"]

    def model(self, name: str, *, timeout_s: Optional[float] = None, attempts: Optional[int] = None,
              budget_s: Optional[float] = None, request_id: Optional[str] = None,
              cancel: Optional[threading.Event] = None) -> Model:
        """One of them."""
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel)
        answer: Model = self._call("GET", f"v1/models/{_quoted(name)}", options)
        return answer

    def limits(self, *, timeout_s: Optional[float] = None, attempts: Optional[int] = None,
               budget_s: Optional[float] = None, request_id: Optional[str] = None,
               cancel: Optional[threading.Event] = None) -> Limits:
        """What a request may have."""
        options = _Options(timeout_s, attempts, budget_s, request_id, cancel)
        answer: Limits = self._call("GET", "v1/limits", options)
        return answer

    # ------------------------------------------------------------ one call

    def _call(self, method: str, path: str, options: _Options, body: Optional[bytes] = None,
              content_type: str = "", has: str = "") -> Any:
        """Asks until there is an answer that trying again would not change, or no time, no budget or no attempt
        is left."""
        timeout_s, attempts, budget_s = (
            default if given is None else given for given, default in zip(options[:3], self._defaults))
        limit = _Limit(timeout_s, options.cancel)
        headers = dict(self._headers)
        for name, value in (("Content-Type", content_type), ("X-Priority", options.priority),
                            ("X-Request-ID", options.request_id)):
            if value:
                headers[name] = value
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(method, path, headers, body, limit, options.on_progress, has)
            except _Stopped as stopped:
                raise stopped.error from None
            except InferpoolError as error:
                error.attempts = attempt
                wait = _pause(attempt, error.retry_after_s)
                may_pass = isinstance(error, ConnectionFailedError) or error.status in _MAY_PASS
                if not may_pass or attempt >= attempts or wait > budget_s or time.monotonic() + wait >= limit.end:
                    raise
            budget_s -= wait
            limit.sleep(wait)

    def _attempt(self, method: str, path: str, headers: Mapping[str, str], body: Optional[bytes], limit: _Limit,
                 on_progress: Optional[Progress], has: str) -> Any:
        try:
            sent = {**headers, "X-Timeout-Ms": str(math.ceil(limit.left() * 1000))}
            connection = self._pool.take(limit)
        except OSError as error:
            limit.left()
            raise ConnectionFailedError(error) from error
        keep = False
        try:
            if body is not None:
                sent["Content-Length"] = str(len(body))
            try:
                connection.request(method, self._path + path, None if body is None else _parts(body, on_progress), sent)
            except OSError as error:
                response = self._early_answer(connection, error)
            else:
                response = connection.getresponse()
            try:
                return _read(response, has)
            finally:
                keep = response.isclosed() and not response.will_close
        except (OSError, http.client.HTTPException) as error:
            limit.left()
            raise ConnectionFailedError(error) from error
        finally:
            if keep:
                self._pool.give(connection)
            else:
                connection.end()

    @staticmethod
    def _early_answer(connection: _Connection, error: OSError) -> http.client.HTTPResponse:
        """A server that refuses a body may answer, and close, before it has read all of it."""
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException):
            raise error from None
        response.will_close = True
        return response


# ------------------------------------------------------------ answers
# made of openapi.json by make_types.py

class _Prediction(TypedDict):
    model: ModelVersion
    image: Size
    timing_ms: Timing
    request_id: str


class Prediction(_Prediction, total=False):
    """One of `detections`, `texts`, `classes` and `embedding`, by the model's family"""

    route: RouteTaken
    tiles: str
    detections: Detections
    texts: Texts
    classes: Classes
    embedding: Embedding


class RouteTaken(TypedDict):
    """The route that was asked, and what of it answered: what it leads to, its canary, or its
    fallback. Absent where a model was asked"""

    name: str
    variant: Literal["primary", "canary", "fallback"]


class BatchAnswerModel(TypedDict):
    name: str


class _BatchAnswer(TypedDict):
    model: BatchAnswerModel
    results: List[BatchResult]
    timing_ms: Timing
    request_id: str


class BatchAnswer(_BatchAnswer, total=False):
    route: RouteTaken


class _BatchResult(TypedDict):
    index: int
    status: int


class BatchResult(_BatchResult, total=False):
    """What POST /v1/predict/{model} would have answered about this picture: `status` and `problem`,
    or what was found"""

    model: ModelVersion
    image: Size
    tiles: str
    detections: Detections
    texts: Texts
    classes: Classes
    embedding: Embedding
    problem: ResultProblem


class Analysis(TypedDict):
    image: Size
    results: Dict[str, AnalysisResult]
    timing_ms: Timing
    request_id: str


class _AnalysisResult(TypedDict):
    status: int


class AnalysisResult(_AnalysisResult, total=False):
    """What POST /v1/predict/{model} would have answered: `status` and `problem`, or what was
    found"""

    model: ModelVersion
    tiles: str
    detections: Detections
    texts: Texts
    classes: Classes
    embedding: Embedding
    problem: ResultProblem


class LimitsKeyRate(TypedDict):
    """null: no limit"""

    requests_per_s: float
    burst: int


class LimitsKey(TypedDict):
    """What the request's API key may; null where no key is needed"""

    rate: Union[LimitsKeyRate, None]
    priority: Literal["high", "normal", "low"]


class LimitsClient(TypedDict):
    """What one client may, whatever its key: an IPv4 address, or an IPv6 network of /64. In it null
    is no limit"""

    requests_per_s: Union[int, None]
    burst: Union[int, None]
    in_work: Union[int, None]


class Limits(TypedDict):
    body_bytes: int
    other_body_bytes: int
    head_line_bytes: int
    pixels: int
    jpeg_scans: int
    batch_images: int
    max_detections: int
    tiles: int
    formats: List[str]
    timeout_ms: int
    queue_ms: Union[int, None]
    key: Union[LimitsKey, None]
    client: Union[LimitsClient, None]


class ModelVersionStepsItem(TypedDict):
    name: str
    version: str


class _ModelVersion(TypedDict):
    name: str
    version: str


class ModelVersion(_ModelVersion, total=False):
    steps: List[ModelVersionStepsItem]


class Size(TypedDict):
    """The picture's, upright, in pixels"""

    width: int
    height: int


Detections = List["Detection"]


class _Detection(TypedDict):
    box: Box
    confidence: Confidence
    class_id: int
    class_name: str


class Detection(_Detection, total=False):
    corners: List[Point]
    keypoints: List[Keypoint]
    mask: List[List[Point]]
    text: str
    found: Dict[str, Found]


class Found(TypedDict, total=False):
    """What a step of a pipeline has found: one of `detections`, `texts`, `classes` and `embedding`.
    Places are those in the whole picture"""

    turned: Literal[0, 90, 180, 270]
    detections: Detections
    texts: Texts
    classes: Classes
    embedding: Embedding


Point = List[float]


class Keypoint(TypedDict):
    x: float
    y: float
    confidence: Confidence


class Box(TypedDict):
    """Corners, from the upper left of the upright picture; within it"""

    x1: float
    y1: float
    x2: float
    y2: float


class ClassesItem(TypedDict):
    confidence: Confidence
    class_id: int
    class_name: str


Classes = List["ClassesItem"]


Confidence = float


class TextsItem(TypedDict):
    text: str
    confidence: Confidence


Texts = List["TextsItem"]


Embedding = List[float]


class Timing(TypedDict):
    """Where the time went, in milliseconds. `total` is from the moment a worker took the request,
    so without `queue`"""

    queue: float
    read: float
    decode: float
    preprocess: float
    infer: float
    postprocess: float
    draw: float
    total: float


class Models(TypedDict):
    models: List[Model]


class _Model(TypedDict):
    name: str
    version: str
    family: Literal[
        "yolov8",
        "yolov8_segment",
        "yolov8_pose",
        "yolov8_obb",
        "yolov5",
        "yolox",
        "rt_detr",
        "end_to_end",
        "ssd",
        "nms_free",
        "segment_nms_free",
        "pose_nms_free",
        "obb_nms_free",
        "text_boxes",
        "text_line",
        "classification",
        "embedding",
        "pipeline",
        None,
    ]
    max_batch_size: int
    inputs: List[TensorDescription]
    outputs: List[TensorDescription]
    class_names: List[str]


class Model(_Model, total=False):
    unusable: str
    useful_side: int
    route: Dict[str, Any]
    servers: List[str]
    steps: Step


class _Step(TypedDict):
    model: str


class Step(_Step, total=False):
    """Only of pipelines: the model that is asked about the picture, with those that are asked about
    what it finds"""

    classes: List[str]
    min_confidence: float
    min_size: int
    most: int
    turn: str
    order: Literal["reading"]
    each: List[Step]


class TensorDescription(TypedDict):
    name: str
    datatype: Datatype
    shape: List[int]


Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]


class _Problem(TypedDict):
    type: ProblemType
    code: ProblemCode
    title: str
    status: int
    detail: str
    request_id: str


class Problem(_Problem, total=False):
    """RFC 9457"""

    parameter: str
    error: str


class _ResultProblem(TypedDict):
    type: ProblemType
    code: ProblemCode
    title: str
    status: int
    detail: str


class ResultProblem(_ResultProblem, total=False):
    """RFC 9457, within a batch"""

    parameter: str


ProblemType = str


ProblemCode = Literal[
    "bad-request",
    "bad-parameter",
    "unauthorized",
    "forbidden",
    "unknown-route",
    "unknown-model",
    "unknown-camera",
    "nothing-yet",
    "method-not-allowed",
    "not-acceptable",
    "request-timeout",
    "length-required",
    "body-too-large",
    "too-many-images",
    "uri-too-long",
    "head-too-large",
    "unsupported-media",
    "bad-picture",
    "quarantined",
    "too-many-requests",
    "internal",
    "web-server-failed",
    "unusable-model",
    "bad-model-answer",
    "model-server-away",
    "streams-away",
    "overloaded",
    "model-too-slow",
    "too-slow",
]

# end of what is made
