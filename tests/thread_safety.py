#!/usr/bin/env python3
"""Fails when code touches what a mutex guards without holding the mutex.

    thread_safety.py ROOT BUILD  checks the sources below ROOT with the flags of
                                 BUILD/compile_commands.json
    thread_safety.py --self-test ROOT BUILD  checks this program

Runs clang's thread safety analysis (-Wthread-safety) over every source that includes
shared/base/mutex.h, directly or through the header of the same name. GCC, which builds the
project, ignores the marks that the analysis reads. What clang warns of besides is refused as well.

Where there is ccache it knows the sources that were found right, and only those that have changed
are read again.
"""

import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

MUTEX = "shared/base/mutex.h"
FOLDERS = ("shared", "proto", "fcgi", "worker", "modelserver", "ops")
AT_ONCE = 2
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)

WRONG = """
#include "shared/base/mutex.h"
class Counter {
 public:
  void Add() { %s++total_; }
 private:
  inferpool::Mutex mutex_;
  int total_ ABSL_GUARDED_BY(mutex_) = 0;
};
int main() { Counter().Add(); }
"""


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def includes_mutex(root, source):
    included = INCLUDE.findall(read(root, source))
    own = os.path.splitext(source)[0] + ".h"
    return MUTEX in included or (own in included and MUTEX in INCLUDE.findall(read(root, own)))


def flags_of(entry):
    """What clang needs of GCC's command: where headers are, what is defined, the warnings."""
    words = iter(shlex.split(entry["command"]) if "command" in entry else entry["arguments"])
    flags = []
    for word in words:
        if word in ("-I", "-isystem", "-D"):
            flags += [word, next(words)]
        elif word.startswith(("-I", "-isystem", "-D", "-std=", "-W")):
            flags.append(word)
    return flags


def analyse(source, flags, folder, root):
    ccache = shutil.which("ccache")
    environment = dict(os.environ, CCACHE_BASEDIR=root, CCACHE_NOHASHDIR="1")
    with tempfile.TemporaryDirectory() as output:
        # ccache keeps the outcome of nothing less than a compilation.
        command = [ccache, "clang++", "-c", "-o", os.path.join(output, "source.o")] if ccache else [
            "clang++", "-fsyntax-only"]
        return subprocess.run(
            [*command, *flags, "-Wthread-safety", "-Werror=thread-safety",
             "-Wno-unknown-warning-option", source],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)


def sources(root, build):
    """(path below root, entry of the compilation database) of every source to look at."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        for entry in json.load(file):
            path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
            if path.split(os.sep)[0] in FOLDERS and includes_mutex(root, path):
                yield path, entry


def check(root, build):
    chosen = list(sources(root, build))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(lambda item: analyse(os.path.join(root, item[0]), flags_of(item[1]),
                                                  item[1]["directory"], root), chosen))
    print(f"{len(chosen)} sources")
    return [run.stdout for run in runs if run.returncode != 0]


def self_test(root, build):
    failures = []
    chosen = dict(sources(root, build))
    if not chosen:
        return [f"no source includes {MUTEX}"]
    flags = flags_of(next(iter(chosen.values())))
    with tempfile.TemporaryDirectory() as folder:
        for lock, right in [("", False), ("const inferpool::MutexLock lock(mutex_); ", True)]:
            source = os.path.join(folder, "counter.cc")
            with open(source, "w", encoding="utf-8") as file:
                file.write(WRONG % lock)
            run = analyse(source, flags, folder, root)
            if right != (run.returncode == 0) or (not right and "total_" not in run.stdout):
                failures.append(f"wrong verdict with lock {lock!r}: {run.stdout}")
    return failures


def main():
    arguments = sys.argv[1:]
    run = check
    if arguments[:1] == ["--self-test"]:
        run = self_test
        arguments = arguments[1:]
    if len(arguments) != 2:
        sys.exit(__doc__)
    failures = run(*map(os.path.realpath, arguments))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
