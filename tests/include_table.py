#!/usr/bin/env python3
"""Fails when the sources break the plan of the house: who may include whom.

    include_table.py ROOT        checks the sources below ROOT
    include_table.py --self-test checks this program

A room is a folder of sources. Every #include "..." of a .cc or .h file must be written from the
repository's root, and must be allowed by the rule of its room. Each room's library must link the
libraries of the rooms that it may include, and no others of ours. The table in docs/design.md must
say the same as the rules here.
"""

import os
import re
import sys

# Room -> what its files may include besides the room itself: another room, or a file of one.
# A room is a folder; those below it are rooms of their own.
RULES = {
    "shared/base": [],
    "shared/access": ["shared/base"],
    "shared/config": ["shared/base"],
    "shared/board": ["shared/access", "shared/base"],
    "shared/monitor": ["shared/base"],
    "shared/pictures": ["shared/base"],
    "shared/redis": ["shared/base"],
    "shared/frames": ["shared/base"],
    "proto": ["shared/base"],
    "fcgi/wire": ["shared/base"],
    "fcgi/serving": ["fcgi/wire", "shared/board", "shared/base"],
    "fcgi/pool": ["shared/board", "shared/config", "shared/base"],
    "worker/vision/families": ["proto/datatype.h", "proto/model_description.h", "shared/pictures",
                               "shared/base"],
    "worker/vision": ["worker/vision/families", "proto/datatype.h", "proto/model_description.h",
                      "shared/pictures", "shared/base"],
    # What a route leads to: models are named as the directory has them.
    "worker/routes": ["worker/backend/rpc", "shared/board", "shared/config", "shared/base"],
    "worker/backend/rpc": ["proto", "shared/board", "shared/base"],
    "worker/backend/shm": ["worker/backend/rpc", "proto", "shared/base"],
    "worker/backend": ["worker/backend/rpc", "worker/backend/shm", "worker/vision", "proto",
                       "shared/base"],
    # Of fcgi/wire only the request and response values.
    "worker/http": ["worker/routes", "worker/backend", "worker/backend/rpc", "fcgi/wire/request.h",
                    "shared/access", "shared/board", "shared/config", "shared/base"],
    "worker/kserve_http": ["worker/http", "worker/routes", "worker/backend", "worker/backend/rpc",
                           "fcgi/wire/request.h", "proto", "shared/board", "shared/config",
                           "shared/base"],
    # A batch has threads of its own, of which the crash handler is told.
    "worker/predict": ["worker/http", "worker/routes", "worker/backend", "worker/vision", "fcgi/wire/request.h",
                       "fcgi/serving/crash_scope.h", "proto", "shared/access", "shared/board",
                       "shared/config", "shared/pictures", "shared/base"],
    "worker/analyze": ["worker/predict", "worker/http", "worker/backend", "worker/vision",
                       "fcgi/wire/request.h", "shared/board", "shared/config", "shared/base"],
    "worker/streams": ["worker/analyze", "worker/predict", "worker/http", "worker/backend", "worker/vision",
                       "worker/vision/families", "fcgi/wire/request.h", "fcgi/serving", "shared/board",
                       "shared/config", "shared/frames", "shared/pictures", "shared/redis",
                       "shared/base"],
    # The router, and the worker's main, which makes all that a worker needs.
    "worker": ["worker/kserve_http", "worker/analyze", "worker/predict", "worker/streams",
               "worker/http", "worker/routes", "worker/backend", "worker/backend/rpc",
               "fcgi/serving", "fcgi/wire", "shared/board",
               "shared/config", "shared/pictures", "shared/base"],
    "modelserver/config": ["proto", "shared/base"],
    "modelserver/execution": ["modelserver/config", "proto", "shared/base"],
    "modelserver/onnxruntime": ["proto", "shared/base"],
    "modelserver/engines": ["modelserver/onnxruntime", "modelserver/execution",
                            "modelserver/config", "proto", "shared/pictures", "shared/base"],
    "modelserver/repository": ["modelserver/engines", "modelserver/execution",
                               "modelserver/config", "proto", "shared/base"],
    "modelserver/rpc": ["proto", "shared/base"],
    "modelserver/service": ["modelserver/config", "modelserver/engines", "modelserver/execution",
                            "modelserver/onnxruntime/library.h", "modelserver/repository", "modelserver/rpc", "proto", "shared/monitor",
                            "shared/base"],
    "ops/sidecar": ["worker/backend/rpc", "worker/backend/shm", "shared/board", "shared/config", "shared/monitor",
                    "shared/base"],
    # Of the master only how it listens on a Unix socket.
    "ops/live": ["worker/streams/address.h", "worker/http", "fcgi/pool/listener.h", "fcgi/wire/request.h",
                 "shared/access", "shared/board", "shared/config", "shared/redis", "shared/base"],
    # Of those who answer frames only where Redis is and how a lease is kept.
    "ops/rules": ["worker/streams/address.h", "worker/streams/scripts.h", "shared/board",
                  "shared/config", "shared/redis", "shared/base"],
    "ops/cli": ["ops/live", "ops/rules", "ops/sidecar", "worker", "worker/backend/shm", "fcgi/pool", "shared/access",
                "shared/board", "shared/config", "shared/base"],
    "ops/feeder": ["shared/frames", "shared/redis", "shared/base"],
}
FOLDERS = sorted({folder.split("/")[0] for folder in RULES})

INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*(?:"([^"]*)"|<([^>]*)>)')
# Comments, and what only looks as if a comment began in it.
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def includes(text):
    """(line, path, quoted) of every include that is not in a comment."""
    def without_comment(found):
        piece = found.group()
        return piece if piece.startswith('"') else "\n" * piece.count("\n")

    text = COMMENT_OR_TEXT.sub(without_comment, text)
    for number, line in enumerate(text.split("\n"), start=1):
        found = INCLUDE.match(line)
        if found:
            quoted = found.group(1) is not None
            yield number, found.group(1) if quoted else found.group(2), quoted


def problems_of(path, text):
    """What is wrong with the includes of the file `path`, relative to the root."""
    own = os.path.dirname(path)
    if own not in RULES:
        yield 1, f'{own} is not a room: it has no rule in tests/include_table.py'
        return
    allowed = RULES[own]
    for line, included, quoted in includes(text):
        ours = included.split("/")[0] in FOLDERS and "/" in included
        if not ours:
            if quoted:
                yield (line, f'"{included}" is not written from the root '
                             f'(the root\'s folders are {", ".join(FOLDERS)})')
            continue
        if not quoted:
            yield line, f'<{included}> is ours: write "{included}"'
        if "/../" in included or "/./" in included or "//" in included:
            yield line, f'"{included}" is not written from the root: it has "..", "." or "//"'
        elif os.path.dirname(included) not in [own, *allowed] and included not in allowed:
            yield (line, f'"{included}": {own} may include only '
                         f'{", ".join([own, *allowed]) if allowed else "itself"} '
                         f'and third-party libraries')


def library_of(room):
    return "inferpool_" + room.replace("/", "_")


def link_problems(room, text):
    """What is wrong with the link line in the CMakeLists.txt `text` of `room`."""
    definition = re.search(r"inferpool_library\(" + library_of(room) + r"\s([^()]*)\)", text)
    if definition is None:
        yield f"it does not define the library {library_of(room)}"
        return
    _, _, link = definition.group(1).partition("LINK")
    # Generated code is the protocol's own.
    linked = {name for name in link.split() if name.startswith("inferpool_")}
    linked -= {"inferpool_proto_generated"}
    rooms = {library_of(entry) for entry in RULES[room] if not entry.endswith(".h")}
    files = {library_of(os.path.dirname(entry)) for entry in RULES[room] if entry.endswith(".h")}
    for name in sorted(linked - rooms - files):
        yield f"{library_of(room)} links {name}, whose room it may not include"
    for name in sorted(rooms - linked):
        yield f"{library_of(room)} does not link {name}, whose room it may include"


def design_problems(text):
    """Where the table of rooms in docs/design.md, `text`, differs from the rules."""
    drawn = {}
    for room, allowed in re.findall(r"^\| `([^`]+)/` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE):
        drawn[room] = set(re.findall(r"`([^`]+)`", allowed))
    for room in sorted(RULES.keys() | drawn.keys()):
        if room not in drawn:
            yield f"the room {room} is missing"
        elif room not in RULES:
            yield f"{room} has no rule in tests/include_table.py"
        elif drawn[room] != set(RULES[room]) - {"shared/base"}:
            yield (f"{room} may include {', '.join(sorted(drawn[room])) or 'nothing'}; the rule says "
                   f"{', '.join(sorted(set(RULES[room]) - {'shared/base'})) or 'nothing'}")


def sources(root):
    for folder in FOLDERS:
        for parent, _, names in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(names):
                if name.endswith((".cc", ".h")):
                    yield os.path.relpath(os.path.join(parent, name), root).replace(os.sep, "/")


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def check(root):
    """(number of files, "FILE:LINE: what is wrong" of each problem)."""
    count = 0
    found = []
    for path in sources(root):
        count += 1
        text = read(root, path)
        found += [f"{path}:{line}: {problem}" for line, problem in problems_of(path, text)]
    for room in RULES:
        path = f"{room}/CMakeLists.txt"
        found += [f"{path}: {problem}" for problem in link_problems(room, read(root, path))]
    path = "docs/design.md"
    found += [f"{path}: {problem}" for problem in design_problems(read(root, path))]
    return count, found


def self_test():
    forbidden = [
        ("shared/base/a.cc", '#include "proto/tensor.h"'),
        ("shared/base/a.h", '#include "fcgi/wire/request.h"'),
        ("shared/base/a.h", '#include "shared/board/scoreboard.h"'),
        ("proto/a.cc", '#include "worker/vision/model_plan.h"'),
        ("fcgi/wire/a.cc", '#include "proto/tensor.h"'),
        ("fcgi/serving/a.cc", '#include "fcgi/pool/master.h"'),
        ("worker/a.cc", '#include "ops/cli/serve.h"'),
        ("worker/a.cc", '#include "fcgi/pool/master.h"'),
        ("worker/http/a.cc", '#include "modelserver/execution/engine.h"'),
        ("worker/http/a.cc", '#include "fcgi/wire/connection.h"'),
        ("worker/vision/a.cc", '#include "proto/tensor.h"'),
        ("worker/backend/rpc/a.cc", '#include "worker/backend/catalog.h"'),
        ("modelserver/rpc/a.cc", '#include "modelserver/service/service.h"'),
        ("ops/cli/a.cc", '#include "modelserver/execution/engine.h"'),
        ("ops/cli/a.cc", '#include "fcgi/serving/server.h"'),
        ("ops/cli/a.cc", '#include "tests/unit/shared/base/temporary_folder.h"'),
        # Other ways to write it.
        ("shared/base/a.cc", '  #  include   "proto/tensor.h"  // why'),
        ("shared/base/a.cc", "#include <proto/tensor.h>"),
        ("shared/base/a.cc", '#include "proto/tensor.h" /* not in */ // a "comment /*"'),
        ("shared/base/a.cc", '#include "shared/base/../../proto/tensor.h"'),
        # Not from the root.
        ("shared/base/a.cc", '#include "log.h"'),
        ("shared/base/a.cc", '#include "../proto/tensor.h"'),
        ("shared/base/a.cc", '#include "./log.h"'),
        ("worker/http/a.cc", '#include "http/problem.h"'),
        ("worker/vision/a.cc", "#include <worker/vision/model_plan.h>"),
    ]
    allowed = [
        ("shared/base/a.cc", '#include "shared/base/log.h"'),
        ("shared/base/a.cc", "#include <vector>\n#include <absl/status/status.h>"),
        ("proto/a.cc", '#include "proto/kserve.pb.h"\n#include "shared/base/log.h"'),
        ("fcgi/pool/a.cc", '#include "fcgi/pool/child.h"\n#include "shared/base/log.h"'),
        ("worker/vision/a.cc", '#include "worker/vision/model_plan.h"\n'
                               '#include "proto/model_description.h"'),
        ("worker/predict/a.cc", '#include "worker/backend/catalog.h"\n'
                                '#include "worker/vision/model_plan.h"\n'
                                '#include "fcgi/wire/request.h"'),
        ("ops/cli/a.cc", '#include "fcgi/pool/master.h"\n#include "worker/process.h"\n'
                         '#include "ops/cli/serve.h"'),
        ("shared/base/a.cc", '// #include "proto/tensor.h"\n/*\n#include "ops/cli/serve.h"\n*/'),
    ]
    failures = []
    for path, text in forbidden:
        found = list(problems_of(path, "// A comment.\n\n" + text + "\n"))
        if not found or not all(line == 3 for line, _ in found):
            failures.append(f"not found in line 3 of {path}: {text} ({found})")
    for path, text in allowed:
        found = list(problems_of(path, text))
        if found:
            failures.append(f"{path}: {text!r} should be allowed: {found}")
    tricky = '// a/*.cc\nconst char* a = "/*";\n#include "proto/tensor.h"\n// */\n'
    if [line for line, _ in problems_of("shared/base/a.cc", tricky)] != [3]:
        failures.append("an include between what only looks like a comment was not found")
    # A name that only begins like a folder's is another folder.
    if not list(problems_of("fcgi/wire/a.cc", '#include "sharedx/a.h"')):
        failures.append("sharedx was taken for shared")
    if not list(problems_of("shared/new/a.cc", "")):
        failures.append("a folder without a rule was taken for a room")
    line = "inferpool_library(inferpool_fcgi_wire\n  SOURCES a.cc\n  LINK {})\n"
    for linked, right in [("inferpool_shared_base ${FCGI_LIBRARY}", True), ("", False),
                          ("inferpool_shared_base inferpool_shared_board", False)]:
        if right == bool(list(link_problems("fcgi/wire", line.format(linked)))):
            failures.append(f"wrong verdict on a link line of {linked!r}")
    table = "".join(f"| `{room}/` | what | {' '.join(f'`{entry}`' for entry in allowed)} |\n"
                    for room, allowed in RULES.items()).replace("`shared/base`", "")
    if list(design_problems(table)):
        failures.append("a table as the rules have it was refused")
    if len(list(design_problems(table.replace("`fcgi/wire/`", "`fcgi/wired/`")))) != 2:
        failures.append("a table with another room was accepted")
    return failures


def main():
    if sys.argv[1:] == ["--self-test"]:
        failures = self_test()
    elif len(sys.argv) == 2:
        count, failures = check(sys.argv[1])
        if count == 0:
            failures = [f"there are no sources below {sys.argv[1]}"]
        else:
            print(f"{count} files")
    else:
        sys.exit(__doc__)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
