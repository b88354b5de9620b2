#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""results.py junit|meson FILE... [--again FILE | --failed]: what a suite's logs say.

Prints 'PASSED FAILED SKIPPED' as the first line, then each failure with its output, then for each
reason the tests that it skipped. A log that is missing or cut off is one failure. The file after
--again is of a second run of the tests that failed: its outcomes count, and a test that passed there
is told with what failed at first. --failed prints the names of those that failed, and no more.
"""
import argparse
import collections
import json
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

OUTPUT_LINES = 120
MESON_PASSED = {"OK", "EXPECTEDFAIL"}
MESON_SKIPPED = {"SKIP", "IGNORED"}


def read_junit(path):
    """Yields (name, 'passed' | 'failed' | 'skipped', text) of a pytest --junit-xml file."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = "::".join(filter(None, [case.get("classname"), case.get("name")]))
        outcome, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", f"{text}{child.text or child.get('message')}\n"
            elif child.tag == "skipped" and outcome == "passed":
                outcome, text = "skipped", child.get("message") or ""
            elif child.tag in ("system-out", "system-err") and outcome == "failed":
                text += f"--- {child.tag}\n{child.text}\n"
        yield name, outcome, text


def read_meson(path):
    """Yields the same of meson's testlog.json: one JSON object a line."""
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            test = json.loads(line)
            result = test["result"]
            if result in MESON_PASSED:
                yield test["name"], "passed", ""
            elif result in MESON_SKIPPED:
                yield test["name"], "skipped", result
            else:
                output = f"{result}\n{test.get('stdout', '')}{test.get('stderr', '')}"
                yield test["name"], "failed", output


def second_run(tests, again):
    """(tests with the outcomes of their second run, those that only then passed)."""
    again = {name: (name, outcome, text) for name, outcome, text in again}
    recovered = [t for t in tests if t[1] == "failed" and again.get(t[0], t)[1] == "passed"]
    return [again.get(t[0], t) if t[1] == "failed" else t for t in tests], recovered


def print_output(title, text):
    lines = text.rstrip().splitlines()
    cut = [f"[... {len(lines) - OUTPUT_LINES} lines]"] if len(lines) > OUTPUT_LINES else []
    print(title, *cut, *lines[-OUTPUT_LINES:], sep="\n    ")


def print_skipped(tests):
    """By reason; the parameters of a test (after '[') are counted, not named."""
    reasons = collections.defaultdict(collections.Counter)
    for name, outcome, text in tests:
        if outcome == "skipped":
            reasons[text.partition("\n")[0]][name.partition("[")[0]] += 1
    for reason, names in reasons.items():
        listed = ", ".join(n if count == 1 else f"{n} ({count})" for n, count in names.items())
        print(textwrap.fill(f"skipped, {reason}: {listed}", 100, subsequent_indent="    ",
                            break_long_words=False, break_on_hyphens=False))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["junit", "meson"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--again", metavar="FILE")
    parser.add_argument("--failed", action="store_true")
    options = parser.parse_args()
    reader = {"junit": read_junit, "meson": read_meson}[options.kind]
    tests, recovered = [], []
    for path in options.files:
        try:
            tests += reader(path)
        except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
            tests.append(("suite", "failed", f"it left no readable log: {error}"))
    if options.failed:
        print(*[name for name, outcome, _ in tests if outcome == "failed"], sep="\n")
        return
    if not tests:
        tests = [("suite", "failed", "it ran no test")]
    if options.again is not None:
        try:
            tests, recovered = second_run(tests, reader(options.again))
        except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
            tests.append(("second run", "failed", f"it left no readable log: {error}"))
    print(*[sum(t[1] == outcome for t in tests) for outcome in ("passed", "failed", "skipped")])
    for name, outcome, text in tests:
        if outcome == "failed":
            print_output(f"FAILED {name}", text)
    for name, _, text in recovered:
        print_output(f"PASSED ONLY THE SECOND TIME {name}; at first:", text)
    print_skipped(tests)


if __name__ == "__main__":
    main()
