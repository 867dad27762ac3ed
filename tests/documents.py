#!/usr/bin/env python3
"""documents.py ROOT: holds the project's Markdown to its rules.

Every relative link leads to a file or folder, and to a heading where it names one; no line is
longer than 100 characters, but for tables, headings, code and what has no blank; README.md has at
most 8 KB, so that it stays a door and not the house."""
import re
import subprocess
import sys
from pathlib import Path

MOST_LINE = 100
MOST_README = 8192
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def documents(root):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                             "*.md"], cwd=root, capture_output=True, check=True).stdout
    return [root / name for name in listed.decode().split("\0") if name]


def prose(text):
    """(number, line) of all lines that are not code."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            yield number, line


def anchors(path):
    """The names of its headings, as GitHub makes them."""
    names = set()
    for _, line in prose(path.read_text()):
        if heading := re.match(r"#{1,6} (.*)", line):
            words = re.sub(r"[^\w\- ]", "", heading[1].lower())
            names.add(words.replace(" ", "-"))
    return names


def problems_of(path, root):
    text = path.read_text()
    name = path.relative_to(root)
    for number, line in prose(text):
        if len(line) > MOST_LINE and not line.startswith(("|", "#")) and " " in line.strip():
            yield f"{name}:{number}: {len(line)} characters, allowed are {MOST_LINE}"
    whole = "\n".join(line for _, line in prose(text))
    for target in LINK.findall(whole):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            yield f"{name}: there is nothing at {target}"
        elif anchor and anchor not in anchors(to):
            yield f"{name}: {target} has no such heading"
    if str(name) == "README.md" and len(text.encode()) > MOST_README:
        yield f"README.md has {len(text.encode())} bytes, allowed are {MOST_README}"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = documents(root)
    problems = [problem for path in found for problem in problems_of(path, root)]
    print("\n".join(problems) or f"{len(found)} documents are good")
    sys.exit(1 if problems or not found else 0)


if __name__ == "__main__":
    main()
