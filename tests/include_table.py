#!/usr/bin/env python3
"""Fails when an #include breaks the include table of the design.

    include_table.py ROOT        checks the sources below ROOT
    include_table.py --self-test checks this program

Every #include "..." of a .cc or .h file must be written from the repository's root, and must be
allowed by the rule of the folder that the file lies in, or its own. The longest that fits has the
say.
"""

import os
import re
import sys
import tempfile

# Folder or file -> what it may include besides itself. An entry is a folder, or a file.
RULES = {
    "shared": [],
    "proto": ["shared"],
    "fcgi": ["shared"],
    "worker/vision": ["shared"],
    "worker/backend": ["worker/vision", "proto", "shared"],
    # Of fcgi only the request and response values.
    "worker/rest": ["worker/backend", "fcgi/request.h", "proto", "shared"],
    # A batch has threads of its own, of which the crash handler is told.
    "worker/api": ["worker", "fcgi/request.h", "fcgi/part_owner.h", "proto", "shared"],
    "worker": ["fcgi/request.h", "proto", "shared"],
    # The worker's main makes all of it, then serves.
    "worker/process.h": ["fcgi/notice.h", "shared"],
    "worker/process.cc": ["worker", "fcgi/connection.h", "fcgi/crash_handler.h", "fcgi/server.h",
                          "shared"],
    "modelserver": ["proto", "shared"],
    "ops": ["fcgi", "worker", "proto", "shared"],
}
FOLDERS = sorted({folder.split("/")[0] for folder in RULES})

INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*(?:"([^"]*)"|<([^>]*)>)')
# Comments, and what only looks as if a comment began in it.
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def is_below(path, folder):
    return path == folder or path.startswith(folder + "/")


def rule_of(path):
    """The folder of RULES that `path` lies in."""
    return max((folder for folder in RULES if is_below(path, folder)), key=len)


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
    own = rule_of(path)
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
        elif not any(is_below(included, folder) for folder in [own, *allowed]):
            yield (line, f'"{included}": {own} may include only '
                         f'{", ".join([own, *allowed]) if allowed else "itself"} '
                         f'and third-party libraries')


def sources(root):
    for folder in FOLDERS:
        for parent, _, names in sorted(os.walk(os.path.join(root, folder))):
            for name in sorted(names):
                if name.endswith((".cc", ".h")):
                    yield os.path.relpath(os.path.join(parent, name), root).replace(os.sep, "/")


def check(root):
    """(number of files, "FILE:LINE: what is wrong" of each problem)."""
    count = 0
    found = []
    for path in sources(root):
        count += 1
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        found += [f"{path}:{line}: {problem}" for line, problem in problems_of(path, text)]
    return count, found


def self_test():
    forbidden = [
        ("shared/a.cc", '#include "proto/tensor.h"'),
        ("shared/a.h", '#include "fcgi/request.h"'),
        ("proto/a.cc", '#include "worker/vision/model.h"'),
        ("fcgi/a.cc", '#include "proto/tensor.h"'),
        ("fcgi/a.cc", '#include "worker/api/api.h"'),
        ("fcgi/deep/a.cc", '#include "ops/serve.h"'),
        ("worker/a.cc", '#include "ops/serve.h"'),
        ("worker/a.cc", '#include "fcgi/server.h"'),
        ("worker/process.cc", '#include "fcgi/master.h"'),
        ("worker/process.cc", '#include "ops/serve.h"'),
        ("worker/process.h", '#include "worker/api/api.h"'),
        ("worker/api/a.cc", '#include "modelserver/engine.h"'),
        ("worker/api/a.cc", '#include "fcgi/master.h"'),
        ("worker/vision/a.cc", '#include "worker/api/api.h"'),
        ("worker/vision/a.cc", '#include "worker/backend/client.h"'),
        ("worker/vision/a.cc", '#include "proto/tensor.h"'),
        ("worker/vision/a.cc", '#include "fcgi/request.h"'),
        ("worker/backend/a.cc", '#include "worker/api/api.h"'),
        ("worker/backend/a.cc", '#include "fcgi/request.h"'),
        ("modelserver/a.cc", '#include "worker/vision/model.h"'),
        ("modelserver/a.cc", '#include "fcgi/child.h"'),
        ("ops/a.cc", '#include "modelserver/engine.h"'),
        ("ops/a.cc", '#include "tests/unit/shared/temporary_folder.h"'),
        # Other ways to write it.
        ("shared/a.cc", '  #  include   "proto/tensor.h"  // why'),
        ("shared/a.cc", "#include <proto/tensor.h>"),
        ("shared/a.cc", '#include "proto/tensor.h" /* not in */ // a "comment /*"'),
        ("shared/a.cc", '#include "shared/../proto/tensor.h"'),
        # Not from the root.
        ("shared/a.cc", '#include "log.h"'),
        ("shared/a.cc", '#include "../proto/tensor.h"'),
        ("shared/a.cc", '#include "./log.h"'),
        ("worker/api/a.cc", '#include "api/api.h"'),
        ("worker/vision/a.cc", "#include <worker/vision/model.h>"),
    ]
    allowed = [
        ("shared/a.cc", '#include "shared/log.h"'),
        ("shared/a.cc", "#include <vector>\n#include <absl/status/status.h>"),
        ("proto/a.cc", '#include "proto/kserve.pb.h"\n#include "shared/log.h"'),
        ("fcgi/a.cc", '#include "fcgi/child.h"\n#include "shared/log.h"'),
        ("worker/vision/a.cc", '#include "worker/vision/model.h"\n#include "shared/log.h"'),
        ("worker/backend/a.cc", '#include "worker/backend/client.h"\n'
                                '#include "worker/vision/model.h"\n#include "proto/tensor.h"'),
        ("worker/api/a.cc", '#include "worker/backend/client.h"\n'
                            '#include "worker/vision/model.h"\n#include "fcgi/request.h"'),
        ("worker/process.cc", '#include "worker/process.h"\n#include "worker/api/api.h"\n'
                              '#include "fcgi/server.h"'),
        ("modelserver/a.cc", '#include "modelserver/engine.h"\n#include "proto/tensor.h"'),
        ("ops/a.cc", '#include "fcgi/master.h"\n#include "worker/api/api.h"\n'
                     '#include "proto/tensor.h"\n#include "ops/serve.h"'),
        ("shared/a.cc", '// #include "proto/tensor.h"\n/*\n#include "ops/serve.h"\n*/'),
    ]
    failures = []
    for path, text in forbidden:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)))
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write("// A comment.\n\n" + text + "\n")
            _, found = check(root)
        if not found or not all(problem.startswith(f"{path}:3: ") for problem in found):
            failures.append(f"not found in line 3 of {path}: {text} ({found})")
    for path, text in allowed:
        found = list(problems_of(path, text))
        if found:
            failures.append(f"{path}: {text!r} should be allowed: {found}")
    tricky = '// a/*.cc\nconst char* a = "/*";\n#include "proto/tensor.h"\n// */\n'
    if [line for line, _ in problems_of("shared/a.cc", tricky)] != [3]:
        failures.append("an include between what only looks like a comment was not found")
    # A name that only begins like a folder's is another folder.
    if not list(problems_of("fcgi/a.cc", '#include "sharedx/a.h"')):
        failures.append("sharedx was taken for shared")
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
