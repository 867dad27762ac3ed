"""Our declaration of ONNX Runtime's C API, entry by entry, against the real header.

    run.py [--ci] [HEADER]

HEADER is an onnxruntime_c_api.h. Without it the one is taken that a package carries: Maven's
com.microsoft.onnxruntime:onnxruntime-android (headers/ in the archive), or, where that is not to be
had, the Go module github.com/yalue/onnxruntime_go; they are asked through `mvn` and `go`.

For each Entry of modelserver/onnxruntime/api.h the function at that place of the header's struct
OrtApi has to have its name and as many parameters. The enumerations' values are compared too. Exit
status 0 when all agree.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OURS = Path(__file__).resolve().parents[3] / "modelserver/onnxruntime/api.h"
ANDROID = "com.microsoft.onnxruntime:onnxruntime-android:{}:aar"
ANDROID_VERSIONS = ("1.30.0", "1.22.0", "1.21.0")
GO_MODULE = "github.com/yalue/onnxruntime_go@v1.27.0"

# Our enumerators, whose names are shorter than the header's.
ENUMERATORS = {
    "kVerbose": "ORT_LOGGING_LEVEL_VERBOSE", "kInfo": "ORT_LOGGING_LEVEL_INFO",
    "kWarning": "ORT_LOGGING_LEVEL_WARNING", "kError": "ORT_LOGGING_LEVEL_ERROR",
    "kFatal": "ORT_LOGGING_LEVEL_FATAL",
    "kFail": "ORT_FAIL", "kInvalidArgument": "ORT_INVALID_ARGUMENT",
    "kNoSuchFile": "ORT_NO_SUCHFILE", "kNoModel": "ORT_NO_MODEL",
    "kRuntimeException": "ORT_RUNTIME_EXCEPTION", "kInvalidProtobuf": "ORT_INVALID_PROTOBUF",
    "kNotImplemented": "ORT_NOT_IMPLEMENTED", "kInvalidGraph": "ORT_INVALID_GRAPH",
    "kDisableAll": "ORT_DISABLE_ALL", "kBasic": "ORT_ENABLE_BASIC",
    "kExtended": "ORT_ENABLE_EXTENDED", "kAll": "ORT_ENABLE_ALL",
    "kSequential": "ORT_SEQUENTIAL", "kParallel": "ORT_PARALLEL",
    "kDeviceAllocator": "OrtDeviceAllocator", "kArenaAllocator": "OrtArenaAllocator",
    "kDefaultMemory": "OrtMemTypeDefault", "kTensorType": "ONNX_TYPE_TENSOR",
    **{f"k{name.capitalize()}": f"ONNX_TENSOR_ELEMENT_DATA_TYPE_{name}" for name in (
        "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING",
        "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64", "BFLOAT16")},
}


def from_maven(folder):
    for version in ANDROID_VERSIONS:
        command = ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
                   f"-Dartifact={ANDROID.format(version)}", f"-DoutputDirectory={folder}"]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            archive = next(Path(folder).glob("*.aar"))
            with zipfile.ZipFile(archive) as files:
                return files.read("headers/onnxruntime_c_api.h").decode(), f"onnxruntime-android {version}"
    return None


def from_go(folder):
    command = ["go", "mod", "download", "-json", GO_MODULE]
    (Path(folder) / "go.mod").write_text("module header\n")
    done = subprocess.run(command, check=False, capture_output=True, cwd=folder)
    if done.returncode != 0:
        return None
    header = Path(json.loads(done.stdout)["Dir"]) / "onnxruntime_c_api.h"
    return header.read_text(), GO_MODULE


def real_header():
    named = [argument for argument in sys.argv[1:] if argument != "--ci"]
    if named:
        return Path(named[0]).read_text(), named[0]
    with tempfile.TemporaryDirectory() as folder:
        for get in (from_maven, from_go):
            try:
                if found := get(folder):
                    return found
            except FileNotFoundError:
                continue  # no mvn, or no go
    sys.exit("there is no header to compare with: neither mvn nor go could get one")


def without_comments(text):
    return re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))


def parameters_in(text):
    """The number of parameters in the text between a function's parentheses."""
    depth, count = 0, 1
    for character in text:
        depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(character, 0)
        count += character == "," and depth == 0
    return count if text.strip() not in ("", "void") else 0


def functions_of(header):
    """(name, number of parameters) of each function of struct OrtApi, in order."""
    text = without_comments(header)
    body = text[text.index("struct OrtApi {") + len("struct OrtApi {"):]
    body = body[:body.index("\n};")]
    functions = []
    for declaration in (" ".join(part.split()) for part in body.split(";")):
        if not declaration:
            continue
        if found := re.match(r"ORT_API2_STATUS\((\w+)\s*,?(.*)\)", declaration):
            functions.append((found[1], parameters_in(found[2])))
        elif found := re.match(r"ORT_API_T\(.*?,\s*(\w+)\s*,?(.*)\)", declaration):
            functions.append((found[1], parameters_in(found[2])))
        elif found := re.match(r"ORT_CLASS_RELEASE\((\w+)\)", declaration):
            functions.append((f"Release{found[1]}", 1))
        elif found := re.search(r"\(\s*(?:ORT_API_CALL)?\s*\*\s*(\w+)\s*\)\s*\((.*?)\)\s*(?:NO_EXCEPTION.*)?$",
                                declaration):
            functions.append((found[1], parameters_in(found[2])))
        else:
            sys.exit(f"a declaration of the header is not understood: {declaration}")
    return functions


def values_of(text):
    """The value of each enumerator."""
    values = {}
    for body in re.findall(r"\benum\b[^{;]*\{(.*?)\}", without_comments(text), flags=re.DOTALL):
        value = -1
        for enumerator in filter(None, (part.strip() for part in body.split(","))):
            name, _, given = (part.strip() for part in enumerator.partition("="))
            try:
                value = int(given, 0) if given else value + 1
            except ValueError:
                value = values.get(given, value + 1)
            values[name] = value
    return values


def main():
    header, source = real_header()
    functions = functions_of(header)
    ours = OURS.read_text()
    entries = re.findall(r"constexpr Entry<(\d+), ([^;]*)> k(\w+);", ours)
    problems = []
    for place, signature, name in entries:
        real, parameters = functions[int(place)] if int(place) < len(functions) else (None, 0)
        mine = parameters_in(signature[signature.index("(") + 1:signature.rindex(")")])
        if real != name:
            problems.append(f"{name} is at {place}, where the header has {real}")
        elif mine != parameters:
            problems.append(f"{name} has {mine} parameters, in the header {parameters}")
    real_values = values_of(header)
    for name, value in values_of(ours).items():
        if real_values.get(ENUMERATORS[name]) != value:
            problems.append(f"{name} is {value}, {ENUMERATORS[name]} {real_values.get(ENUMERATORS[name])}")
    if len(entries) < 40:
        problems.append(f"only {len(entries)} entries were found in {OURS}")
    print("\n".join(problems) or f"{len(entries)} entries agree with {source}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
