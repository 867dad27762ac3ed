#!/usr/bin/env python3
"""make_types.py [--check]: writes the types of answers into inferpool.d.ts and inferpool.py, as
../openapi.json has them: the schemas that the clients' operations answer with, and all that those
name, between two marks. With --check it writes nothing, names the files that are not as they would
be made, and fails when there are any.
"""

import json
import re
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "openapi.json"
# Those that the clients call; one that the document does not have is left out.
OPERATIONS = ("predict", "predictBatch", "analyze", "listModels", "describeModel", "limits")
BEGIN, END = "made of openapi.json by make_types.py", "end of what is made"
COMMENT_WIDTH = 96


class Schemas:
    def __init__(self, document):
        self.document = document
        self.all = document["components"]["schemas"]

    def target(self, value):
        while isinstance(value, dict) and "$ref" in value:
            at = self.document
            for part in value["$ref"][2:].split("/"):
                at = at[part.replace("~1", "/").replace("~0", "~")]
            value = at
        return value

    def roots(self):
        for item in self.document["paths"].values():
            for operation in item.values():
                if isinstance(operation, dict) and operation.get("operationId") in OPERATIONS:
                    answer = self.target(operation["responses"]["200"])
                    yield answer["content"]["application/json"]["schema"]
        yield {"$ref": "#/components/schemas/Problem"}

    def used(self):
        """{name: schema} of those that the roots need, in the document's order."""
        names, waiting = set(), list(self.roots())
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, dict):
                name = value.get("$ref", "").removeprefix("#/components/schemas/")
                if name and name not in names:
                    names.add(name)
                    waiting.append(self.all[name])
                waiting += [inner for key, inner in value.items() if key not in ("examples", "description")]
        return {name: schema for name, schema in self.all.items() if name in names}


def name_of(reference):
    return reference.rpartition("/")[2]


def kinds(schema):
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def is_record(schema):
    return "object" in kinds(schema) and "properties" in schema


# ------------------------------------------------------------ TypeScript

SIMPLE_TS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}


def comment_ts(text, indent):
    if not text:
        return []
    lines = textwrap.wrap(text.replace("*/", "* /"), COMMENT_WIDTH - len(indent))
    if len(lines) == 1:
        return [f"{indent}/** {lines[0]} */"]
    return [f"{indent}/**", *(f"{indent} * {line}" for line in lines), f"{indent} */"]


def members_ts(schema, indent):
    lines = []
    required = schema.get("required", [])
    for name, value in schema["properties"].items():
        lines += comment_ts(value.get("description"), indent)
        key = name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)
        text = type_ts(value, indent)
        blank = "" if text.startswith("\n") else " "
        lines.append(f"{indent}{key}{'' if name in required else '?'}:{blank}{text};")
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        absent = "" if set(schema["properties"]) <= set(required) else " | undefined"
        lines.append(f"{indent}[name: string]: {type_ts(more, indent)}{absent};")
    return lines


def kind_ts(kind, schema, indent):
    if kind in SIMPLE_TS:
        return SIMPLE_TS[kind]
    if kind == "array":
        item = type_ts(schema.get("items", {}), indent)
        if schema.get("minItems") == schema.get("maxItems") == 2:
            return f"[{item}, {item}]"
        return f"({item})[]" if " | " in item else f"{item}[]"
    if "properties" in schema:
        return "\n".join(["{", *members_ts(schema, indent + "  "), indent + "}"])
    more = schema.get("additionalProperties")
    return f"{{ [name: string]: {type_ts(more, indent) if isinstance(more, dict) else 'unknown'} }}"


def type_ts(schema, indent=""):
    if "$ref" in schema:
        return name_of(schema["$ref"])
    if "enum" in schema:
        values = [json.dumps(value) for value in schema["enum"]]
        line = " | ".join(values)
        return line if len(line) <= COMMENT_WIDTH else "".join(f"\n{indent}  | {value}" for value in values)
    if "const" in schema:
        return json.dumps(schema["const"])
    for word, glue in (("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")):
        if word in schema and "properties" not in schema:
            return glue.join(type_ts(one, indent) for one in schema[word])
    return " | ".join(kind_ts(kind, schema, indent) for kind in kinds(schema)) or "unknown"


def typescript(schemas):
    lines = []
    for name, schema in schemas.items():
        lines += comment_ts(schema.get("description"), "")
        if is_record(schema) and kinds(schema) == ["object"]:
            lines += [f"export interface {name} {{", *members_ts(schema, "  "), "}", ""]
        else:
            text = type_ts(schema)
            blank = "" if text.startswith("\n") else " "
            lines += [f"export type {name} ={blank}{text};", ""]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------ Python

SIMPLE_PY = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "null": "None"}


def wrapped(text, indent):
    """A long Literal, with a line for each value."""
    if len(text) <= COMMENT_WIDTH or not text.startswith("Literal["):
        return text
    return text.replace("[", f"[\n{indent}    ").replace(", ", f",\n{indent}    ").replace("]", f",\n{indent}]")


class Python:
    """TypedDicts; objects within objects get a name of their own."""

    def __init__(self):
        self.lines = []

    def union(self, types):
        return types[0] if len(types) == 1 else f"Union[{', '.join(types)}]"

    def kind(self, kind, schema, name):
        if kind in SIMPLE_PY:
            return SIMPLE_PY[kind]
        if kind == "array":
            item = self.type(schema.get("items", {}), f"{name}Item")
            return f"List[{item}]"
        if "properties" in schema:
            self.record(name, schema)
            return f'"{name}"'
        more = schema.get("additionalProperties")
        return f"Dict[str, {self.type(more, f'{name}Value') if isinstance(more, dict) else 'Any'}]"

    def type(self, schema, name):
        if "$ref" in schema:
            return f'"{name_of(schema["$ref"])}"'
        if "enum" in schema:
            values = ", ".join("None" if value is None else json.dumps(value) for value in schema["enum"])
            return f"Literal[{values}]"
        if "const" in schema:
            return f"Literal[{json.dumps(schema['const'])}]"
        for word in ("oneOf", "anyOf"):
            if word in schema and "properties" not in schema:
                return self.union([self.type(one, f"{name}{at}") for at, one in enumerate(schema[word], 1)])
        if "allOf" in schema and "properties" not in schema:
            return self.type(schema["allOf"][0], name)
        types = [self.kind(kind, schema, name) for kind in kinds(schema)]
        return self.union(types) if types else "Any"

    def record(self, name, schema):
        required = schema.get("required", [])
        types = {key: self.type(value, name + key.title().replace("_", "")).replace('"', "") if "enum" not in value
                 else self.type(value, name) for key, value in schema["properties"].items()}
        always = {key: one for key, one in types.items() if key in required}
        others = {key: one for key, one in types.items() if key not in required}
        text = schema.get("description")
        doc = [f"    {line}" for line in textwrap.wrap(f'"""{text}"""', COMMENT_WIDTH)] if text else []
        base = "TypedDict"
        if always and others:
            self.lines += [f"class _{name}(TypedDict):", *self.members(always), "", ""]
            base = f"_{name}, total=False"
        elif others:
            base = "TypedDict, total=False"
        body = [*doc, *([""] if doc else []), *self.members(others or always)]
        self.lines += [f"class {name}({base}):", *body, "", ""]

    @staticmethod
    def members(types):
        return [f"    {key}: {wrapped(one, '    ')}" for key, one in types.items()]

    def named(self, name, schema):
        if is_record(schema) and kinds(schema) == ["object"]:
            self.record(name, schema)
            return
        self.lines += [f"{name} = {wrapped(self.type(schema, name), '')}", "", ""]


def python(schemas):
    made = Python()
    for name, schema in schemas.items():
        made.named(name, schema)
    return "\n".join(made.lines).rstrip("\n") + "\n\n"


# ------------------------------------------------------------ the files

def renewed(text, sign, made):
    """The text with what was made between its marks."""
    marks = re.compile(rf"({sign} {re.escape(BEGIN)}[^\n]*\n\n).*?({sign} {re.escape(END)}\n)", re.S)
    new, count = marks.subn(lambda found: found[1] + made + found[2], text)
    if count != 1:
        raise ValueError(f"the marks stand there {count} times")
    return new


def main():
    schemas = Schemas(json.loads(DOCUMENT.read_text())).used()
    old = []
    for name, sign, made in (("inferpool.d.ts", "//", typescript(schemas)), ("inferpool.py", "#", python(schemas))):
        file = HERE / name
        text = file.read_text()
        new = renewed(text, sign, made)
        if new == text:
            continue
        old.append(name)
        if "--check" not in sys.argv:
            file.write_text(new)
    if old and "--check" in sys.argv:
        print(f"{', '.join(old)}: not as openapi.json says; {Path(__file__).name} writes it anew", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
