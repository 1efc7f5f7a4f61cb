"""Each message of ours has its entry in docs/troubleshooting.md, and each entry its message."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

from projects import HELPER, REPOSITORY

PAGE = REPOSITORY / "docs" / "troubleshooting.md"
TABLE = re.compile(r"^\| the message \|.+\n\| --- .+\n((?:\|.+\n)+)", re.MULTILINE)
HOLE = "…"

TOLD = {"error", "warn", "warning"}
"""Functions that tell of something; what is raised is a message, too, and so is each sentence."""

OF_NO_MESSAGE = {"description", "help", "message"}
"""Keywords of click and of Dagster, whose texts say what a thing is."""

NO_MESSAGES = (
    "Nothing is wrong.",
    *("The newest release is", "… is the newest release.", "…\nNo file of", "The template was not"),
    "It has ended by now.",  # what Dagster's run monitoring asks
    "The code server is not reached.",
    "It ended with its code server.",
    "The columns and their types are those of the last materialisation.",  # describe a check
    "; a failure is a warning.",
    "; a failure ends the run.",
    "It is set in conf, and not shown here.",  # in the launchpad
    "Run … of …: … in … seconds.",
    "Install an earlier version of it, or get a helper that fits with `copier update`.",  # follow
    "… Write one like ….",
    "Value error,",
    *("of job …", "whose id begins with …", "the last run…, …,"),
    "Did you mean …?",
    "There is none to choose from.",
    "Allowed: …",
    "Interrupted in the terminal.",
    "Run a job that has them, give what they make a catalog entry,",
    "A node of a pipeline that is not imported cannot run.",  # which nobody can make happen
    "module … has no attribute …",
)


def messages() -> dict[str, str]:
    """The messages in the source, by where they are; what is put in reads `…`."""
    found = {}
    for file in sorted(HELPER.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for line, text in strings(tree, ()):
            found[f"{file.relative_to(HELPER).as_posix()}:{line}"] = text
    return found


def strings(node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[tuple[int, str]]:
    if isinstance(node, (ast.Constant, ast.JoinedStr)):
        text = text_of(node)
        if isinstance(parents[-1], ast.Expr) or not is_message(text, parents):
            return
        yield node.lineno, " ".join(text.split())
        return
    if isinstance(node, ast.keyword) and node.arg in OF_NO_MESSAGE:
        return
    for child in ast.iter_child_nodes(node):
        yield from strings(child, (*parents, node))


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return re.sub(r"%[srdg]", HOLE, node.value) if isinstance(node.value, str) else ""
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
    )


def is_message(text: str, parents: tuple[ast.AST, ...]) -> bool:
    words = [word for word in text.split() if word.strip(f"{HOLE}.:,;()")]
    if len(words) < 2 or text.strip().startswith(NO_MESSAGES):
        return False
    calls = [parent.func for parent in parents if isinstance(parent, ast.Call)]
    names = {getattr(one, "attr", getattr(one, "id", "")) for one in calls}
    raised = any(isinstance(parent, ast.Raise) for parent in parents)
    assigned = [parent for parent in parents if isinstance(parent, ast.Assign)]
    variables = {ast.unparse(one.targets[0]) for one in assigned}
    if "advice" in variables:  # which follows a message
        return False
    raised |= any(variables & raised_in(one) for one in parents if isinstance(one, ast.FunctionDef))
    return raised or bool(names & TOLD) or text.rstrip().endswith(".") or "message" in variables


@functools.cache
def raised_in(function: ast.FunctionDef) -> set[str]:
    """The names of the variables that a function raises."""
    raises = (one.exc for one in ast.walk(function) if isinstance(one, ast.Raise) and one.exc)
    return {name.id for one in raises for name in ast.walk(one) if isinstance(name, ast.Name)}


def fragments() -> list[str]:
    """What the page quotes of messages, in the first columns of its tables."""
    tables = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    cells = (line.split(" | ")[0] for table in tables for line in table.splitlines())
    return [fragment for cell in cells for fragment in re.findall("`(.+?)`", cell)]


def matches(fragment: str, message: str) -> bool:
    pattern = ".*".join(map(re.escape, fragment.split(HOLE)))
    return re.search(pattern, message) is not None


def test_each_message_has_an_entry() -> None:
    found = messages()
    assert len(found) > 100
    told = fragments()
    missing = {
        place: message
        for place, message in found.items()
        if not any(matches(one, message) for one in told)
    }
    advice = "Quote each in a table of docs/troubleshooting.md: what it means, what to do"
    assert not missing, f"{advice}.\n{missing}"


def test_each_entry_has_a_message() -> None:
    texts = messages().values()
    for fragment in fragments():
        assert len(fragment.split()) > 1, f"{fragment!r} is too short to find a message by"
        assert any(matches(fragment, text) for text in texts), f"no message has {fragment!r}"
