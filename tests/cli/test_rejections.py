#!/usr/bin/env python3
"""docs/rejections.md and the README show what `inlay verify` says of rejections.bpf.c. `test_rejections.py --write` writes both."""
import json
import os
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["INLAY_SOURCE"], os.environ["INLAY_BUILD"]
PAGE = os.path.join(SOURCE, "docs", "rejections.md")
README = os.path.join(SOURCE, "README.md")
BEGIN, END = "<!-- rejections: tests/cli/test_rejections.py writes this -->\n", "<!-- end of rejections -->\n"
HEAD = """# The five most common rejections

What `inlay verify` says of each, below the verifier's log. The programs are [rejections.bpf.c](../tests/cli/rejections.bpf.c); the page is
written by `tests/cli/test_rejections.py --write` and compared with the real output by the tests.
"""


def body_of(source, name):
    """The function as it is in the source, and the comment above it as a title."""
    title, body = re.search(r"/\* ([^*]+) \*/\nSEC\(\"\w+\"\)\n(int " + name + r"\(.*?^\})", source, re.S | re.M).groups()
    return title, body


def main():
    with open(os.path.join(SOURCE, "tests", "cli", "rejections.bpf.c"), encoding="utf-8") as file:
        source = file.read()
    with tempfile.TemporaryDirectory() as where:
        os.environ["INLAY_REGISTRY"] = os.path.join(where, "registry")
        command = [os.path.join(BUILD, "src", "inlay"), "verify", os.path.join(BUILD, "tests", "cli", "rejections.bpf.o")]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        programs = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout)["programs"]
    page, short = HEAD, ""
    for program in programs:
        title, body = body_of(source, program["name"])
        shown = re.search(r"^" + program["name"] + r" +rejected.*\n((?: .*\n)+)", text, re.M)
        shown = shown.group(1) if shown else ""
        page += f"\n## {title}\n\n```c\n{body}\n```\n\n```\n{shown}```\n"
        short += f"**{title}**\n\n```\n{shown}```\n\n"
    with open(README, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    in_readme, after = rest.split(END)
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(page)
        with open(README, "w", encoding="utf-8") as file:
            file.write(before + BEGIN + short + END + after)
        return 0
    rejected = all(p["verdict"] == "rejected" and p["source"] and p["line"] for p in programs)
    print("ok 1 - five_programs_are_rejected_with_their_line" if rejected and len(programs) == 5 else "not ok 1 - rejected")
    with open(PAGE, encoding="utf-8") as file:
        same = file.read() == page
    print("ok 2 - page_shows_the_real_output" if same else "not ok 2 - page_shows_the_real_output")
    print("ok 3 - readme_shows_it_too" if in_readme == short else "not ok 3 - readme_shows_it_too")
    print("1..3")
    return 0 if rejected and same and in_readme == short else 1


sys.exit(main())
