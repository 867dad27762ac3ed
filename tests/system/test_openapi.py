"""/openapi.json: valid in itself, and true of the real answers."""

import base64
import concurrent.futures
import json
import re
import tempfile
import unittest
from pathlib import Path

import jsonschema

import pictures
import tiny_models
from camera_owner import Owner, key, start_redis
from harness import SystemTest, free_ports
from http_client import multipart
from pictures import ASTRONAUT, SOURCE

DOCUMENT_FILE = SOURCE / "nginx/pages/openapi.json"
DOCUMENT = json.loads(DOCUMENT_FILE.read_text())
STRUCTURE = json.loads((SOURCE / "tests/data/openapi/document.schema.json").read_text())
RESOLVER = jsonschema.RefResolver("", DOCUMENT)


def resolve(value):
    """What a reference names; other values as they are."""
    while isinstance(value, dict) and "$ref" in value:
        value = RESOLVER.resolve(value["$ref"])[1]
    return value


def validate(value, schema):
    jsonschema.Draft202012Validator(schema, resolver=RESOLVER).validate(value)


def walk(value, place=""):
    """Every value of the document with its place, but for what examples hold."""
    yield place, value
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("example", "value"):
                yield from walk(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{place}/{index}")


def operations():
    """(path, method, operation), parameters of the path added."""
    for path, item in DOCUMENT["paths"].items():
        for method in ("get", "post"):
            if method in item:
                operation = dict(item[method])
                operation["parameters"] = [
                    resolve(one) for one in item.get("parameters", []) + operation.get("parameters", [])]
                yield path, method, operation


def worker_problems():
    """{code: status} of the table in the worker's source."""
    text = (SOURCE / "worker/http/problem.cc").read_text()
    kinds = dict(re.findall(r'Kind\{"([a-z-]+)", (\d+),', text))
    del kinds["client-left"]  # which no client sees: it has left
    return kinds


def edge_problems():
    """The same of nginx's map."""
    text = (SOURCE / "nginx/inferpool.conf.in").read_text()
    rows = re.search(r"map \$status \$problem_code \{(.*?)\}", text, re.S).group(1)
    return {kind: status if status != "default" else "400"
            for status, kind in re.findall(r"(\d+|default)\s+([a-z-]+);", rows)}


def edge_titles():
    """{code: title} of nginx's maps, but for the statuses that have no code of their own."""
    text = (SOURCE / "nginx/inferpool.conf.in").read_text()
    codes, titles = ({status: value.strip('"') for status, value in re.findall(r'(\w+)\s+(".*?"|[a-z-]+);', rows)}
                     for rows in (re.search(rf"map \$status \${name} \{{(.*?)\n    \}}", text, re.S).group(1)
                                  for name in ("problem_code", "problem_title")))
    return {code: titles[status] for status, code in codes.items()}


def worker_titles():
    text = (SOURCE / "worker/http/problem.cc").read_text()
    titles = dict(re.findall(r'Kind\{"([a-z-]+)", \d+,\s*"(.*?)"\}', text))
    del titles["client-left"]
    return titles


class DocumentTest(unittest.TestCase):
    def test_it_is_an_openapi_document(self):
        jsonschema.Draft202012Validator.check_schema(STRUCTURE)
        errors = sorted(jsonschema.Draft202012Validator(STRUCTURE).iter_errors(DOCUMENT),
                        key=lambda error: list(map(str, error.path)))
        self.assertEqual([], [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in errors])

    def test_a_broken_document_is_found_out(self):
        for spoil in (lambda document: document.pop("info"),
                      lambda document: document["paths"]["/v1/models"]["get"].pop("responses"),
                      lambda document: document["paths"].update({"v1": {"get": {}}}),
                      lambda document: document["components"]["parameters"]["Model"].pop("required"),
                      lambda document: document["components"]["headers"]["Allow"].update(color="red")):
            broken = json.loads(json.dumps(DOCUMENT))
            spoil(broken)
            self.assertFalse(jsonschema.Draft202012Validator(STRUCTURE).is_valid(broken))

    def test_its_schemas_are_schemas(self):
        count = 0
        for place, value in walk(DOCUMENT):
            if re.fullmatch(r".*/schema|/components/schemas/\w+", place):
                with self.subTest(place):
                    jsonschema.Draft202012Validator.check_schema(value)
                    count += 1
        self.assertGreater(count, 50)

    def test_every_reference_leads_somewhere_and_every_component_is_used(self):
        used = {value["$ref"] for _, value in walk(DOCUMENT) if isinstance(value, dict) and "$ref" in value}
        for reference in used:
            with self.subTest(reference):
                RESOLVER.resolve(reference)
        for kind, components in DOCUMENT["components"].items():
            if kind != "securitySchemes":
                self.assertEqual([], [name for name in components
                                      if f"#/components/{kind}/{name}" not in used], kind)

    def test_operations_have_names_of_their_own_and_declare_what_they_use(self):
        names = [operation["operationId"] for _, _, operation in operations()]
        self.assertEqual(len(names), len(set(names)))
        tags = {tag["name"] for tag in DOCUMENT["tags"]}
        schemes = set(DOCUMENT["components"]["securitySchemes"])
        for path, method, operation in operations():
            with self.subTest(path, method=method):
                declared = [(one["in"], one["name"]) for one in operation["parameters"]]
                self.assertEqual(len(declared), len(set(declared)))
                self.assertEqual(set(re.findall(r"\{(.+?)\}", path)),
                                 {name for place, name in declared if place == "path"})
                self.assertLessEqual(set(operation["tags"]), tags)
                for way in operation.get("security", DOCUMENT["security"]):
                    self.assertLessEqual(set(way), schemes)

    def test_examples_are_of_their_schema(self):
        count = 0
        for place, value in walk(DOCUMENT):
            if isinstance(value, dict) and "schema" in value:
                examples = [resolve(one)["value"] for one in value.get("examples", {}).values()]
                if "example" in value:
                    examples.append(value["example"])
                for example in examples:
                    with self.subTest(place):
                        validate(example, value["schema"])
                        count += 1
        self.assertGreater(count, 10)

    def test_an_answer_has_one_kind_of_result(self):
        """Said without `oneOf`, of which generators make a type that has no members."""
        schemas, examples = (DOCUMENT["components"][part] for part in ("schemas", "examples"))
        good = examples["Detections"]["value"]
        tiled = {**good, "tiles": "4x3"}
        routed = {**tiled, "route": {"name": "things", "variant": "canary"}}
        batch = examples["Batch"]["value"]["results"]
        for schema, right, wrong in (
                ("Prediction", [good, tiled, routed, {key: routed[key] for key in routed if key != "tiles"}],
                 [{**good, "classes": []}, {**tiled, "texts": []}, {**routed, "embedding": []},
                  {key: value for key, value in routed.items() if key not in ("tiles", "detections")}, {key: good[key] for key in good if key != "detections"},
                  {"embedding" if key == "detections" else key: value for key, value in tiled.items()}]),
                ("AnalysisResult", list(examples["Analysis"]["value"]["results"].values()),
                 [{"status": 200}, {**examples["Analysis"]["value"]["results"]["text"], "embedding": []}]),
                ("BatchResult", batch,
                 [{**batch[0], **batch[1]}, {"index": 0, "status": 200}, {**batch[0], "embedding": []},
                  {key: batch[0][key] for key in batch[0] if key != "model"},
                  {key: batch[0][key] for key in batch[0] if key != "image"},
                  {key: batch[0][key] for key in batch[0] if key != "detections"}])):
            for value in right:
                validate(value, schemas[schema])
            for value in wrong:
                with self.subTest(schema, value=value), self.assertRaises(jsonschema.ValidationError):
                    validate(value, schemas[schema])

    def test_it_has_the_programs_version(self):
        version = re.search(r"project\(inferpool VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())
        self.assertEqual(version.group(1), DOCUMENT["info"]["version"])

    def test_every_problem_of_worker_and_nginx_stands_in_it_with_its_status(self):
        known = set(DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"])
        told = {}  # code to the statuses whose description names it
        for _, _, operation in operations():
            for status, response in operation["responses"].items():
                for kind in re.findall(r"`([a-z-]+)`", resolve(response)["description"]):
                    told.setdefault(kind, set()).add(status)
        for source in (worker_problems(), edge_problems()):
            self.assertGreater(len(source), 10)
            for kind, status in source.items():
                if kind == "https-only":  # which is told at the HTTP port alone
                    continue
                with self.subTest(kind):
                    self.assertIn(kind, known)
                    self.assertIn(status, told.get(kind, ()))
        self.assertEqual(set(), known - set(told))

    def test_every_code_stands_in_the_table_of_errors(self):
        rows = re.findall(r"^\| (\d{3}) \| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", (SOURCE / "docs/errors.md").read_text(), re.M)
        table = {code: status for status, codes in rows for code in re.findall(r"[a-z-]+", codes)}
        self.assertEqual({**worker_problems(), **edge_problems()}, {**table, "request-timeout": "408"})
        self.assertIn("408", (SOURCE / "docs/errors.md").read_text())

    def test_every_code_has_its_place_on_the_page_of_errors(self):
        page = (SOURCE / "nginx/pages/errors.html").read_text()
        sections = dict(re.findall(r'<section [^>]*\bid="([a-z-]+)"[^>]*>(.*?)</section>', page, re.S))
        codes = {**worker_problems(), **edge_problems()}
        titles = {**edge_titles(), **worker_titles()}
        self.assertEqual(set(codes), set(sections))
        for code, text in sections.items():
            with self.subTest(code):
                self.assertIn(codes[code], text)
                self.assertIn(titles[code], text)
                self.assertEqual(1, page.count(f'id="{code}"'))

    def test_every_operation_has_what_nginx_answers_anywhere(self):
        for path, method, operation in operations():
            with self.subTest(path, method=method):
                self.assertLessEqual({"400", "405", "413", "414", "429", "500"}, set(operation["responses"]))

    def test_every_status_of_the_protocol_stands_at_inference(self):
        source = (SOURCE / "worker/kserve_http/handler.cc").read_text()
        statuses = set(re.findall(r"\bProtocolError\(\s*(\d{3}),", source))
        self.assertGreater(len(statuses), 5)
        for path, _, operation in operations():
            if path.startswith("/v2/") and path.endswith("/infer"):
                self.assertLessEqual(statuses, set(operation["responses"]), path)


class AnswersTest(SystemTest):
    """Requests to a real instance, each answer held against the document."""

    FACE = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")
    JSON = {"Content-Type": "application/json"}

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        redis = start_redis(cls.addClassCleanup)
        owner = Owner(redis)
        cls.addClassCleanup(owner.close)
        owner.answer("door-3", {"model": {"name": "shapes", "version": "1"}, "image": {"width": 64, "height": 48},
                                "detections": []})
        owner.ledger("door-3", produced=1, published=1)
        owner("SET", key("door-3", "snap:"), pictures.plain(64, 48, "JPEG"))
        cls.instance = cls.start(
            {"streams.redis": redis.address, "streams.workers": 1, "streams.model": "shapes",
             "modelserver.repository": str(tiny_models.make_repository(Path(folder.name) / "models")),
             "pipelines": {"crops": {"model": "faces_cascade", "order": "reading",
                                     "each": [{"model": "colours", "min_confidence": 0, "most": 4},
                                              {"model": "letter"}, {"model": "shapes"}]},
                           "broken": {"model": "nobody", "each": [{"model": "colours"}]}},
             "analyze": ["faces_cascade", "crops"],
             "limits.body_mb": 1, "nginx.rate_per_s": 0, "nginx.trusted_proxies": ["127.0.0.1"]},
            cleanup=cls.addClassCleanup)

    def held(self, answer, path, method="get"):
        """The answer, which is as the document says answers of that operation are."""
        self.assertIsNotNone(answer, "closed without an answer")
        responses = DOCUMENT["paths"][path][method]["responses"]
        said = f"{method} {path} answered {answer.status}: {answer.body[:300]}"
        self.assertIn(str(answer.status), responses, said)
        response = resolve(responses[str(answer.status)])
        for name, header in response.get("headers", {}).items():
            header = resolve(header)
            value = answer.header(name)
            if value is None:
                self.assertFalse(header.get("required"), f"no {name}; {said}")
            else:
                number = header["schema"].get("type") == "integer"
                validate(int(value) if number else value, header["schema"])
        content = response.get("content")
        if content is None:
            self.assertEqual(b"", answer.body, said)
            return answer
        kind = (answer.header("Content-Type") or "").partition(";")[0]
        self.assertIn(kind, content, said)
        if kind.endswith("json"):
            validate(answer.json(), content[kind]["schema"])
            if kind == "application/problem+json":
                self.assertEqual(answer.status, answer.json()["status"])
        return answer

    def ask(self, path, body=None, headers=None, status=200, method=None, query="", instance=None, **names):
        """One request to the path of that template."""
        target = path.format(**{"model": "shapes", "version": "1", "camera": "door-3", **names}) + query
        method = method or ("GET" if body is None else "POST")
        answer = (instance or self.instance).request(method, target, body, headers)
        documented = DOCUMENT["paths"][path]
        self.held(answer, path, method.lower() if method.lower() in documented else
                  next(name for name in ("post", "get") if name in documented))
        self.assertEqual(status, answer.status, f"{method} {target}: {answer.body[:300]}")
        return answer

    # ------------------------------------------------------------ 200

    @staticmethod
    def tensor():
        """A request for the model `colours`, in JSON."""
        return {"id": "one", "inputs": [{"name": "images", "shape": [1, 3, 8, 8], "datatype": "FP32",
                                         "data": [0.5] * (3 * 8 * 8)}]}

    def test_every_operation_answers_200_as_documented(self):
        encoded = base64.b64encode(self.FACE).decode()
        form, form_type = multipart([("image", self.FACE, "face.png"), ("confidence", b"0.5"), ("render", b"json")])
        forms, forms_type = multipart([("images", self.FACE, "a.png"), ("images", b"hello", "b.txt")])
        picture = {"Content-Type": "image/png"}
        in_json = json.dumps({"image": encoded})
        tensor = json.dumps(self.tensor())
        small = json.dumps(resolve(DOCUMENT["components"]["examples"]["KserveInferenceRequest"])["value"])
        asked = set()
        for path, *requests in (
                ("/v1/predict/{model}",
                 dict(body=form, headers={"Content-Type": form_type}, model="faces_cascade"),
                 dict(body=self.FACE, headers=picture, query="?confidence=0.5&iou=0.4&max_detections=1"),
                 dict(body=self.FACE, headers=picture, query="?tiles=2x2&roi=9,9,500,500&classes=star&confidence.star=0.2"),
                 dict(body=self.FACE, headers=picture, query="?coordinates=normalized", model="people"),
                 dict(body=self.FACE, model="colours"), dict(body=self.FACE, model="fingerprint"),
                 dict(body=self.FACE, model="letter"), dict(body=self.FACE, model="crops"),
                 dict(body=in_json, headers=self.JSON, model="faces_cascade"),
                 dict(body=self.FACE, headers=picture, query="?render=jpeg", model="faces_cascade"),
                 dict(body=self.FACE, headers={**picture, "Accept": "image/png"}, model="colours"),
                 dict(body=self.FACE, headers={**picture, "X-Priority": "high", "X-Timeout-Ms": "20000"})),
                ("/predict/{model}", dict(body=self.FACE, headers=picture),
                 dict(body=in_json, headers=self.JSON, model="faces_cascade"),
                 dict(body=form, headers={"Content-Type": form_type})),
                ("/predict/{model}/batch", dict(body=json.dumps({"images": [encoded]}), headers=self.JSON)),
                ("/v1/predict/{model}/batch",
                 dict(body=forms, headers={"Content-Type": forms_type}, model="faces_cascade"),
                 dict(body=json.dumps({"images": [encoded]}), headers=self.JSON, model="colours"),
                 dict(body=json.dumps({"images": [encoded]}), headers=self.JSON, model="fingerprint"),
                 dict(body=json.dumps({"images": [encoded]}), headers=self.JSON, model="letter"),
                 dict(body=json.dumps({"images": [encoded]}), headers=self.JSON, model="crops")),
                ("/v1/analyze", dict(body=form, headers={"Content-Type": form_type}, query="?models=faces_cascade,nobody"),
                 dict(body=self.FACE, headers=picture, query="?models=crops,shapes,colours,fingerprint,letter,broken"),
                 dict(body=in_json, headers=self.JSON)),
                ("/v1/models", {}), ("/v1/limits", {}),
                ("/v1/models/{model}", {}, dict(model="unusable"), dict(model="crops"), dict(model="broken")),
                ("/v1/cameras", {}), ("/v1/cameras/{camera}", {}), ("/v1/cameras/{camera}/latest", {}),
                ("/v1/cameras/{camera}/snapshot.jpg", {}),
                ("/v1/cameras/{camera}/events", dict(method="HEAD"), dict(method="HEAD", query="?findings=only")),
                ("/v2", {}), ("/v2/health/live", {}), ("/v2/health/ready", {}),
                ("/v2/models/stats", {}),
                ("/v2/repository/index", {}, dict(body="{}", headers=self.JSON),
                 dict(body='{"ready":true}', headers=self.JSON)),
                *((f"/v2/models/{{model}}{version}{tail}", *requests)
                  for version in ("", "/versions/{version}")
                  for tail, *requests in (
                      ("", {}), ("/ready", {}), ("/config", {}, dict(model="faces_cascade")), ("/stats", {}),
                      ("/infer", dict(body=tensor, headers=self.JSON, model="colours"),
                       dict(body=small, headers=self.JSON, model="faces_cascade")))),
                ("/livez", {}), ("/readyz", {}), ("/metrics", {}), ("/openapi.json", {}), ("/", {}),
                ("/docs", {}), ("/docs/errors", {}), ("/live", {})):
            for request in requests:
                with self.subTest(path, **{name: str(value)[:60] for name, value in request.items()}):
                    method = "post" if "body" in request else "get"
                    asked.add((path, method))
                    self.ask(path, **request)
        self.assertEqual({(path, method) for path, method, _ in operations()}, asked)

    def test_the_document_that_is_served_is_this_one(self):
        self.assertEqual(DOCUMENT, self.instance.request("GET", "/openapi.json").json())

    def test_the_examples_of_requests_work(self):
        for path, content in (("/v1/predict/{model}", "Picture"), ("/v1/predict/{model}/batch", "Pictures")):
            body = DOCUMENT["components"]["requestBodies"][content]["content"]["application/json"]
            for example in body["examples"].values():
                self.ask(path, json.dumps(resolve(example)["value"]), self.JSON)

    def test_binary_tensors_come_back_as_documented(self):
        request = self.tensor()
        request["outputs"] = [{"name": "scores", "parameters": {"binary_data": True}}]
        answer = self.ask("/v2/models/{model}/infer", json.dumps(request), self.JSON, model="colours")
        self.assertEqual("application/octet-stream", answer.header("Content-Type"))
        length = int(answer.header("Inference-Header-Content-Length"))
        kind = DOCUMENT["components"]["schemas"]["KserveInferenceAnswer"]
        validate(json.loads(answer.body[:length]), kind)
        self.assertEqual(3 * 4, len(answer.body) - length)

    # ------------------------------------------------------------ errors

    def test_errors_are_as_documented(self):
        predict, batch, models = "/v1/predict/{model}", "/v1/predict/{model}/batch", "/v1/models/{model}"
        form, form_type = multipart([("picture", b"x")])
        many, many_type = multipart([("images", b"x")] * 65)
        unknown, unknown_type = multipart([("image", self.FACE), ("conf", b"0.5")])
        damaged = ASTRONAUT[:20_000]
        for status, path, request in (
                (400, predict, dict(body=b"")),
                (400, predict, dict(body=form, headers={"Content-Type": form_type})),
                (400, predict, dict(body=self.FACE, query="?confidence=2")),
                (400, predict, dict(body=self.FACE, query="?render=gif")),
                (400, predict, dict(body=self.FACE, headers={"X-Priority": "urgent"})),
                (400, predict, dict(body=self.FACE, headers={"X-Timeout-Ms": "soon"})),
                (400, predict, dict(body=b'{"image":7}', headers=self.JSON)),
                (400, predict, dict(body=b'{"image":"https://example.com/a.jpg"}', headers=self.JSON)),
                (400, batch, dict(body=b'{"images":[]}', headers=self.JSON)),
                (404, predict, dict(body=self.FACE, model="nobody")),
                (404, batch, dict(body=b'{"images":["eA=="]}', headers=self.JSON, model="nobody")),
                (404, models, dict(model="nobody")),
                (404, "/v1/cameras/{camera}", dict(camera="nobody")),
                (404, "/v1/cameras/{camera}/events", dict(camera="nobody")),
                (400, "/v1/cameras/{camera}/events", dict(query="?findings=all")),
                (405, "/v1/cameras", dict(method="POST", body=b"")),
                (405, "/v1/cameras/{camera}/latest", dict(method="DELETE")),
                (404, "/v2/models/{model}", dict(model="nobody")),
                (404, "/v2/models/{model}/versions/{version}", dict(version="99")),
                (404, "/v2/models/{model}/infer", dict(body=json.dumps(self.tensor()), headers=self.JSON, model="nobody")),
                (405, predict, dict(method="GET")), (405, batch, dict(method="PUT")),
                (405, "/v1/analyze", dict(method="GET")), (405, "/v1/analyze", dict(method="PUT")),
                (400, "/v1/analyze", dict(body=self.FACE, query="?models=a,a")),
                (400, "/v1/analyze", dict(body=self.FACE, query="?render=png")),
                (413, "/v1/analyze", dict(body=bytes(2 ** 20 + 1))),
                (415, "/v1/analyze", dict(body=b"hello")), (422, "/v1/analyze", dict(body=damaged)),
                (405, "/predict/{model}", dict(method="DELETE")),
                (405, models, dict(method="PUT")), (405, "/v1/models", dict(method="POST", body=b"")),
                (405, "/v2/models/{model}/infer", dict(method="PUT")), (405, "/v2", dict(method="DELETE")),
                (406, predict, dict(body=self.FACE, query="?render=png", model="fingerprint")),
                (413, predict, dict(body=bytes(2 ** 20 + 1))),
                (400, predict, dict(body=unknown, headers={"Content-Type": unknown_type})),
                (413, batch, dict(body=many, headers={"Content-Type": many_type})),
                (414, "/v1/models", dict(query="?" + "a" * 20_000)),
                (415, predict, dict(body=b"hello")),
                (415, predict, dict(body=self.FACE, headers={"Content-Type": "text/plain"})),
                (415, predict, dict(body=self.FACE, headers={"Content-Encoding": "gzip"})),
                (422, predict, dict(body=damaged)),
                (501, predict, dict(body=self.FACE, model="unusable")),
                (400, "/v2/models/{model}/infer", dict(body=b"{", headers=self.JSON)),
                (400, "/v2/models/{model}/infer",
                 dict(body=b'{"inputs":[{"name":"images","shape":[1],"datatype":"FP32","data":[1]}]}', headers=self.JSON))):
            with self.subTest(status, path=path, **{name: str(value)[:60] for name, value in request.items()}):
                self.ask(path, status=status, **request)

    def test_a_problems_type_leads_to_what_is_said_about_it(self):
        problem = self.ask("/v1/models/{model}", model="nobody", status=404).json()
        page, _, anchor = problem["type"].partition("#")
        self.assertEqual(problem["code"], anchor)
        answer = self.ask(page)
        self.assertIn(f'id="{anchor}"', answer.body.decode())
        self.assertEqual("text/html; charset=utf-8", answer.header("Content-Type"))

    def test_probes_and_pages_answer_as_documented(self):
        for path in ("/", "/docs", "/docs/errors", "/live", "/openapi.json"):
            tag = self.ask(path).header("ETag")
            for status, request in (
                    (304, dict(headers={"If-None-Match": tag})), (412, dict(headers={"If-Match": '"other"'})),
                    (405, dict(method="POST", body=b"")), (405, dict(method="DELETE")),
                    (413, dict(method="GET", body=bytes(65 * 1024)))):
                with self.subTest(status, path=path):
                    self.ask(path, status=status, **request)
        for path in ("/livez", "/readyz", "/metrics"):
            for status, request in ((405, dict(method="POST", body=b"")), (405, dict(method="DELETE")),
                                    (413, dict(method="GET", body=bytes(1025)))):
                with self.subTest(status, path=path):
                    self.ask(path, status=status, **request)
        self.ask("/metrics", headers={"X-Forwarded-For": "203.0.113.1"}, status=403)

    def test_what_nginx_refuses_anywhere_is_as_documented(self):
        for path, method, _ in operations():
            target = path.format(model="shapes", version="1", camera="door-3")
            for status, data in (
                    (400, f"GET {target} HTTP/1.1\r\n\r\n"),  # no host
                    (405, f"TRACE {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                    (413, f"{method.upper()} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 ** 40}\r\n\r\n"),
                    (414, f"GET {target}?{'a' * 40_000} HTTP/1.1\r\nHost: localhost\r\n\r\n")):
                with self.subTest(status, path=path, method=method):
                    self.assertEqual(status, self.held(self.instance.raw(data.encode()), path, method).status)

    def test_a_body_without_length_is_as_documented(self):
        for path in ("/v1/predict/{model}", "/v1/predict/{model}/batch", "/v2/models/{model}/infer"):
            with self.subTest(path):
                head = f"POST {path.format(model='shapes')} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                answer = self.held(self.instance.raw(head.encode()), path, "post")
                self.assertEqual(411, answer.status)

    def test_too_many_requests_are_answered_as_documented(self):
        instance = self.start({"nginx.rate_per_s": 1, "nginx.burst": 0, "nginx.trusted_proxies": ["127.0.0.1"]},
                              cleanup=self.addCleanup)
        for path in ("/v1/models", "/v2", "/", "/live", "/livez"):
            with self.subTest(path), concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = pool.map(lambda _: instance.request("GET", path, headers={"X-Forwarded-For": "203.0.113.1"}),
                                   range(60))
                self.assertIn(429, {self.held(answer, path).status for answer in answers})

    def test_a_model_server_that_is_away_is_told_as_documented(self):
        instance = self.start({"modelserver.enabled": False, "backend.targets": [f"127.0.0.1:{free_ports(1)[0]}"]},
                              wait_ready=False, cleanup=self.addCleanup)
        self.ask("/readyz", status=503, instance=instance)
        self.ask("/v1/models", status=503, instance=instance)
        self.ask("/v1/predict/{model}", self.FACE, status=503, instance=instance)
        self.ask("/v2/health/ready", status=503, instance=instance)
        self.ask("/v2/models/{model}", status=503, instance=instance)

    def test_a_model_that_takes_too_long_is_told_as_documented(self):
        self.ask("/v1/predict/{model}", ASTRONAUT, {"X-Timeout-Ms": "1"}, status=504, model="faces_cascade")


if __name__ == "__main__":
    unittest.main()
