#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""check_layers.py [TREE]: holds the tree against the plan of the house; exit 1 and a line each.

Sizes: a source file has at most 600 lines, a function at most 100.
Walls: a floor includes its own headers and <pailfs/...> headers of itself and of floors below it;
cache/ and fs/ do not see http/, and mount/ sees nothing but fs/ and base/. A library has one
home. The test server shares no header with the daemon that it judges.
Contracts: a comment stands directly above each function that a public header declares.
Licence: each source file names it in its first lines.

It reads text, not C: it relies on the layout that check_format.sh enforces (a function's braces
stand alone in column 0).
"""
import ast
import pathlib
import re
import sys

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 100
SPDX = "SPDX-License-Identifier: Apache-2.0"
SPDX_WITHIN_LINES = 3
SOURCE_DIRS = ("src", "include", "tests", "man", ".ci")
SUFFIXES = {".c", ".h", ".py", ".sh"}

# The order of the floors. Each sees itself and those before it, less what HIDDEN takes away.
FLOORS = ("base", "http", "s3", "cred", "xfer", "cache", "fs", "mount")
HIDDEN = {
    "cache": {"http"},
    "fs": {"http"},
    "mount": {"http", "s3", "cred", "xfer", "cache"},
}
# Above the floors: src/*.c and the public headers of those (options.h). It sees everything.
TOP = "src"
# Public headers that have no source file of their name to tell their floor.
HEADER_HOME = {"lock": "base", "cleanup": "base", "clock": "base", "mix": "base", "view": "base"}

# A library's include, and where alone it may stand.
LIBRARY_HOME = (
    (r"curl/", r"src/http/"),
    (r"openssl/", r"src/(s3/(sign|checksum|hash|meta)[^/]*|http/tls\.c)$"),
    (r"libxml/", r"src/s3/xml[^/]*$"),
    (r"fuse", r"src/mount/"),
)

# The strict test server and its unit tests, which stand on no floor.
SERVER_DIRS = ("tests/s3d/", "tests/unit/s3d/")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def sources(tree):
    """All source files of the project, whatever git thinks of them (a build dir lies outside)."""
    found = [p for d in SOURCE_DIRS for p in (tree / d).rglob("*") if p.is_file()]
    found += [p for p in tree.glob("*") if p.is_file()]
    wanted = [p for p in found if p.suffix in SUFFIXES or p.name == "meson.build"]
    return sorted(p for p in wanted if "__pycache__" not in p.parts)


def check_size(name, lines):
    if len(lines) > MAX_FILE_LINES:
        yield f"{name}:1: {len(lines)} lines, at most {MAX_FILE_LINES} in a file"
    for function, first, last in functions(name, lines):
        length = last - first + 1
        if length > MAX_FUNCTION_LINES:
            yield (f"{name}:{first}: {function}() has {length} lines, "
                   f"at most {MAX_FUNCTION_LINES} in a function")


def functions(name, lines):
    """Yields (name, first line, last line) of each function, signature included."""
    if name.endswith(".py"):
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name, node.lineno, node.end_lineno
    elif name.endswith(".sh"):
        yield from braced(lines, re.compile(r"^(\w+)\(\)\s*\{"), "}")
    elif name.endswith((".c", ".h")):
        yield from c_functions(lines)


def braced(lines, opening, closing):
    start = None
    for number, line in enumerate(lines, 1):
        match = opening.match(line)
        if match:
            start, function = number, match.group(1)
        elif start and line.startswith(closing):
            yield function, start, number
            start = None


def c_functions(lines):
    signature = start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            text = " ".join(lines[signature - 1 : start - 1])
            match = re.search(r"(\w+)\s*\(", text)
            yield (match.group(1) if match else "?"), signature, number
            start = signature = None
        elif start is None:
            if not line.strip() or line[0] in "#}/*" or line.endswith((";", "*/")):
                signature = None
            elif signature is None and not line[0].isspace():
                signature = number


def check_licence(name, lines):
    if not any(SPDX in line for line in lines[:SPDX_WITHIN_LINES]):
        yield f"{name}:1: no line '{SPDX}' at the top"


def floor_of_header(tree, stem):
    """The floor that a header <pailfs/STEM.h> belongs to; None when nothing tells."""
    first_word = stem.split("_")[0]
    if first_word in FLOORS:
        return first_word
    if (tree / "src" / f"{stem}.c").exists():
        return TOP
    homes = [f for f in FLOORS if (tree / "src" / f / f"{stem}.c").exists()]
    return homes[0] if len(homes) == 1 else HEADER_HOME.get(stem)


def floor_of_file(tree, name):
    """The floor that a file stands on; None for the test server and the like."""
    if name.startswith(SERVER_DIRS):
        return None
    if re.match(r"src/\w+\.[ch]$", name):
        return TOP
    match = re.match(r"src/(\w+)/", name) or re.match(r"tests/unit/(\w+)/", name)
    if match:
        return match.group(1)
    match = re.match(r"include/pailfs/(\w+)\.h", name)
    return floor_of_header(tree, match.group(1)) if match else None


def visible(floor, is_test):
    """Floors whose headers that floor may include. Its unit tests may also look at hidden ones."""
    if floor == TOP:
        return {TOP, *FLOORS}
    below = FLOORS[: FLOORS.index(floor) + 1]
    return {f for f in below if is_test or f not in HIDDEN.get(floor, ())}


def check_walls(tree, name, lines):
    floor = floor_of_file(tree, name)
    is_test = name.startswith("tests/")
    if floor not in (*FLOORS, TOP) and (floor is not None or name.startswith("include/")):
        yield f"{name}:1: belongs to no floor (src/FLOOR/NAME.c or HEADER_HOME tell it)"
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        where, (kind, target) = f"{name}:{number}", match.groups()
        if target.startswith("pailfs/"):
            yield from check_public_include(tree, where, floor, is_test, target)
        elif kind == '"' and not is_test:
            yield from check_private_include(tree, where, name, target)
        if not is_test:
            for library, home in LIBRARY_HOME:
                if re.match(library, target) and not re.match(home, name):
                    yield f"{where}: <{target}> belongs in {home} only"


def check_public_include(tree, where, floor, is_test, target):
    if where.startswith(SERVER_DIRS):
        yield f"{where}: the test server shares nothing with the daemon, not <{target}>"
        return
    if floor is None:
        return
    target_floor = floor_of_header(tree, pathlib.PurePath(target).stem)
    if target_floor is None:
        yield f"{where}: <{target}> belongs to no floor"
    elif target_floor not in visible(floor, is_test):
        yield f"{where}: {floor}/ must not see <{target}> of {target_floor}/"


def check_private_include(tree, where, name, target):
    folder = pathlib.PurePath(name).parent
    if name.startswith("include/"):
        yield f'{where}: a public header includes no private one: "{target}"'
    elif "/" in target or not (tree / folder / target).exists():
        yield f'{where}: "{target}" is not a header of {folder}/'


def check_contracts(name, lines):
    """Each function declared in a public header has a comment that ends on the line above it."""
    if not name.startswith("include/"):
        return
    depth, statement, first, in_comment = 0, "", 0, False
    for number, line in enumerate(lines, 1):
        code, in_comment = strip_comments(line, in_comment)
        directive = line.startswith("#") or (number > 1 and lines[number - 2].endswith("\\"))
        if not code.strip() or directive:
            continue
        if depth == 0 and not statement:
            first = number
        statement += code + " "
        depth += code.count("{") - code.count("}")
        if depth == 0 and code.rstrip().endswith((";", "}")):
            function = declared_function(statement)
            above = lines[first - 2].rstrip()
            if function and (not above.endswith("*/") or SPDX in above):
                yield f"{name}:{first}: no contract comment directly above {function}()"
            statement = ""


def strip_comments(line, in_comment):
    """Returns the code of a line, and whether a comment goes on after it."""
    code = ""
    while line:
        mark = "*/" if in_comment else "/*"
        before, found, line = line.partition(mark)
        if not in_comment:
            code += before
        if found:
            in_comment = not in_comment
    return code.partition("//")[0], in_comment


def declared_function(statement):
    """The name of the function that a top-level statement declares or defines, or None."""
    head, paren, _ = statement.partition("(")
    head = re.sub(r"__attribute__$", "", head.strip())
    if not paren or "{" in head or "=" in head:
        return None
    if re.match(r"(typedef|static_assert|_Static_assert)\b", head):
        return None
    match = re.search(r"[\w*]\s+\**(\w+)$", head)
    return match.group(1) if match else None


def check(tree):
    """All complaints about a tree, as lines 'file:line: what'."""
    files = sources(tree)
    if not files:
        yield f"{tree}: no source files here"
    for path in files:
        name = str(path.relative_to(tree))
        lines = path.read_text(encoding="utf-8").splitlines()
        yield from check_licence(name, lines)
        if path.name == "meson.build":
            continue
        yield from check_size(name, lines)
        if path.suffix in (".c", ".h"):
            yield from check_walls(tree, name, lines)
            yield from check_contracts(name, lines)


def main():
    tree = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    complaints = list(check(tree.resolve()))
    for line in complaints:
        print(line)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
