"""Each of the project's own lint checks reports a bad example and accepts a good example."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lint import cycles, names, script_words, sizes
from lint.names import Allowed, Rules, Term, Where
from lint.sources import Source, load, sources
from lint.words import Role, parts

ROOT = Path(__file__).resolve().parent.parent
TERMS = [
    Term(words=["silence"], use="outages"),
    Term(words=["rang"], use="AlarmSummary", prose=True),
    Term(words=["Sort"], use="Kind", where=Where.EXACT),
    Term(words=["found", "take"], use="the thing", where=Where.DEFINED),
    Term(words=["files"], use="file_watch", where=Where.MODULE),
]


def misleading(path: str, text: str, *allowed: Allowed) -> list[str]:
    """Return the problems that the check reports for one file, each as `line: word`."""
    problems = names.check([Source(path, text)], Rules(terms=TERMS, allowed=list(allowed)))
    return [f"{problem.line}: {problem.text.split('`')[1]}" for problem in problems]


def too_large(path: str, text: str, *allowed: sizes.Allowed) -> list[str]:
    rules = sizes.Rules(unchecked=["tests/*"], allowed=list(allowed))
    return [problem.text for problem in sizes.check([Source(path, text)], rules)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("silence_s = 1", ["1: silence"]),
        ("x = row.isSilence", ["1: silence"]),
        ("\nf(silence=1)", ["2: silence"]),
        ("from a.silence import b", ["1: silence"]),
        ("silenced = 1", []),
        ("class Sort: pass", ["1: Sort"]),
        ("rows.sort()", []),
        ("def _take(): pass", ["1: take"]),
        ("with database.take() as taken: pass", []),
        ("self.take = 1", ["1: take"]),
        ("for found in rows: pass", ["1: found"]),
        ("def f(a, *, found): pass", ["1: found"]),
        ("(found := 1)", ["1: found"]),
        ("found_rows = row.found", []),
        ("# It rang.", ["1: rang"]),
        ('"""It.\n\nRang."""', ["3: rang"]),
        ("# Silence, and it is found.", []),
        ("text = 'silence'", []),
        ("def test_silence_is_found(): pass", []),
        ("def test_it_rang(): pass", ["1: rang"]),
    ],
)
def test_misleading_names_in_python_are_reported(text: str, expected: list[str]) -> None:
    assert misleading("live/rows.py", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("const silence = 1;", ["1: silence"]),
        ("row.silence_s", ["1: silence"]),
        ("const found = rows[0];", ["1: found"]),
        ("row.found ?? {found: 1}", []),
        ("// It rang.", ["1: rang"]),
        ("/* It\nrang. */", ["2: rang"]),
        ("'silence' + \"silence\" + `silence`", []),
        ("`a ${silence} silence ${`b ${{silence}} silence`}` + silence", ["1: silence"]),
        ("`\n${\nsilence}\n`; silence", ["3: silence", "4: silence"]),
        ("x.replace(/[/'`]silence/g, '')", []),
        ("a / silence / 2", ["1: silence"]),
    ],
)
def test_misleading_names_in_scripts_are_reported(text: str, expected: list[str]) -> None:
    assert misleading("dashboard/rows.js", text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("live/files.py", ["1: files"]),
        ("files/live.js", ["1: files"]),
        ("live/open_files.py", []),
        ("dashboard/silence-bar.js", ["1: silence"]),
    ],
)
def test_misleading_names_of_modules_are_reported(path: str, expected: list[str]) -> None:
    assert misleading(path, "") == expected


def test_documents_are_checked_for_misleading_words() -> None:
    assert misleading("docs/alarms.md", "The alarm\nrang in silence.") == ["2: rang"]


def test_an_exception_allows_a_name_in_its_files() -> None:
    allowed = Allowed(names=["silence_s"], reason="a settings key", files=("settings.py", "db/*"))
    assert misleading("settings.py", "silence_s = 1", allowed) == []
    assert misleading("db/a/tables.py", "silence_s = 1", allowed) == []
    assert misleading("live/rows.py", "silence_s = 1", allowed)[0] == "1: silence"
    assert misleading("settings.py", "silence_m = 1", allowed)[0] == "1: silence"


def test_an_unused_exception_is_a_problem() -> None:
    assert misleading("settings.py", "", Allowed(names=["silence_s"], reason="a settings key")) == ["1: silence_s"]


def test_a_problem_names_the_term_to_use() -> None:
    (problem,) = names.check([Source("a.py", "\nsilence_s = 1")], Rules(terms=TERMS, allowed=[]))
    assert str(problem) == "a.py:2: `silence` in `silence_s` misleads: use outages"


def test_every_exception_has_a_reason() -> None:
    reasons = [allowed.reason for allowed in load("names.yaml", Rules).allowed]
    reasons += [allowed.reason for allowed in load("sizes.yaml", sizes.Rules).allowed]
    assert [reason for reason in reasons if len(reason) < 10] == []


def test_an_identifier_is_split_into_words() -> None:
    assert parts("_no_dataFor3DHTTPServer") == ["no", "data", "for", "3", "dhttp", "server"]


def test_the_dashboard_is_tokenized_to_its_end() -> None:
    for path in (ROOT / "dashboard").glob("*/*.js"):
        exported = [line.split()[2] for line in path.read_text().splitlines() if line.startswith("export function ")]
        text = path.read_text() + "\nlast_word;"
        defined = {word.text for word in script_words.words(Source(str(path), text)) if word.role is Role.DEFINED}
        assert {name.split("(")[0].rstrip("<") for name in exported} | {"last_word"} <= defined, path


FUNCTION = "def f():\n" + "    x = 1\n" * 59
METHOD = "class A:\n    async def f(self):\n" + "        x = 1\n" * 60
SCRIPT = "export function f({a}) {\n" + "  if (a) { b(`}`); }\n" * 58 + "}\n"
ARROW = "const f = () => {\n" + "  a();\n" * 59 + "};\n"
CONSTRUCTOR = "class A:\n    def __init__(self, a, b, c, d, e, f, g, *, h{more}): pass\n"


@pytest.mark.parametrize(
    ("path", "good", "bad", "problem"),
    [
        ("a.py", FUNCTION, FUNCTION + "    x = 1\n", "61 lines in `f`: at most 60"),
        ("a.py", "", METHOD, "61 lines in `f`: at most 60"),
        ("a.js", SCRIPT, SCRIPT.replace("\n}", "\n\n}"), "61 lines in `f`: at most 60"),
        ("a.js", "", ARROW, "61 lines in `=>`: at most 60"),
        (
            "a.py",
            CONSTRUCTOR.format(more=""),
            CONSTRUCTOR.format(more=", i"),
            "9 parameters of a constructor: at most 8",
        ),
        ("a.py", "\n" * 450, "\n" * 451, "451 lines in a file: at most 450"),
        ("a.js", "\n" * 450, "\n" * 451, "451 lines in a file: at most 450"),
        ("a.css", "\n" * 450, "\n" * 451, "451 lines in a file: at most 450"),
        ("a.d.ts", "\n" * 450, "\n" * 451, "451 lines in a file: at most 450"),
    ],
)
def test_oversized_code_is_reported(path: str, good: str, bad: str, problem: str) -> None:
    assert too_large(path, good) == []
    assert too_large(path, bad) == [problem]
    assert too_large(f"tests/{path}", bad) == []


def test_an_exception_allows_one_large_function() -> None:
    large = FUNCTION + "    x = 1\n"
    assert too_large("a.py", large, sizes.Allowed(file="a.py", name="f", reason="a list")) == []
    assert too_large("b.py", large, sizes.Allowed(file="a.py", name="f", reason="a list")) == [
        "61 lines in `f`: at most 60",
        "the exception for f in a.py is not needed: remove it",
    ]


def test_import_cycles_are_reported() -> None:
    files = {"a.py": "from b import c", "b/__init__.py": "", "b/c.py": "import d", "d.py": "def f():\n    import a"}
    (problem,) = cycles.check([Source(path, text) for path, text in files.items()])
    assert problem.text in {
        "import cycle: a > b.c > d > a",
        "import cycle: b.c > d > a > b.c",
        "import cycle: d > a > b.c > d",
    }
    files["d.py"] = "from b import __doc__"
    assert list(cycles.check([Source(path, text) for path, text in files.items()])) == []


@pytest.mark.slow
def test_an_upward_import_is_refused(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tach.toml", tmp_path)
    for file in sources(ROOT):
        if file.suffix == ".py" and not file.path.startswith(("tests/", "bench/")):
            copy = tmp_path / file.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.text)
    assert tach(tmp_path).returncode == 0
    with (tmp_path / "ask" / "rows.py").open("a") as rows:
        rows.write("import server\n")
    refused = tach(tmp_path)
    assert refused.returncode == 1
    assert "ask/rows.py" in refused.stdout + refused.stderr


def test_a_new_package_must_have_a_layer(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tach.toml", tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "__init__.py").write_text("import errors\n")
    (tmp_path / "errors.py").write_text("")
    assert tach(tmp_path).returncode == 1


def tach(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("tach")), "check"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
