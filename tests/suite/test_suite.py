"""The tool that runs the extension's tests: on texts of the runner, and on a program in the runner's place."""

import sys
from pathlib import Path

import pytest

from tests.suite import __main__ as suite
from tests.suite import results
from tests.suite.lanes import LANES, SPECIALS, WORKERS, special_for, worker_variables
from tests.suite.running import Outcome, Verdict, classified
from tests.suite.staging import adapted

PASSED = "All tests passed (109 assertions in 1 test case)\n"
SKIPPED = "All tests were skipped (total skipped 1)\n\nSkipped tests for the following reasons:\n"
EMPTY = "=====\ntest cases: 1 | 1 passed\nassertions: - none -\n\n"
FAILED = """\
/src/sqllogic_parser.cpp:119: FAILED:
test cases: 1 | 1 failed

1. test/sql/a.test:32
{rule}
Query unexpectedly failed! (test/sql/a.test:32)!
{rule}
SELECT 'Fake Error';
{rule}
Catalog Error: Table with name a|b does not exist!
LINE 1: SELECT
""".format(rule="=" * 80)
WRONG = f"1. test/sql/a.test:7\n{'=' * 80}\nWrong result in query! (test/sql/a.test:7)!\n{'=' * 80}\nSELECT 1\n"

RUNNER = """\
#!{python}
import os, sys, time
test = open(sys.argv[-1]).read()
os.write(1, "\\n".join([test, *sys.argv, *map("=".join, os.environ.items()), ""]).encode())
if "hang" in test:
    time.sleep(60)
if "FAIL" in test:
    sys.exit(1)
print("Skipped tests for the following reasons:\\nrequire-env NOTHING: 1" if "SKIP" in test else {passed!r})
"""


@pytest.mark.parametrize(
    ("status", "output", "verdict"),
    [
        (0, PASSED, Verdict(Outcome.PASSED)),
        (0, f"{SKIPPED}require-env A: 1\n", Verdict(Outcome.SKIPPED, "require-env A")),
        (0, f"{SKIPPED}require spatial: 1\n\n", Verdict(Outcome.SKIPPED, "require spatial")),
        (0, f"{PASSED}{SKIPPED}require-env A: 1\n", Verdict(Outcome.SKIPPED, "require-env A")),
        (
            0,
            f"{SKIPPED}skip on error_message matching 'HTTP': 1\n",
            Verdict(Outcome.FAILED, "skip on error_message matching 'HTTP'"),
        ),
        (1, FAILED, Verdict(Outcome.FAILED, "line 32: Catalog Error: Table with name a|b does not exist!")),
        (1, WRONG, Verdict(Outcome.FAILED, "line 7: Wrong result in query!")),
        (1, "", Verdict(Outcome.FAILED, "the runner ended with status 1")),
        (-11, PASSED, Verdict(Outcome.FAILED, "the runner was ended by SIGSEGV")),
        (0, "No test cases matched 'a'\nNo tests ran\n", Verdict(Outcome.FAILED, "the runner does not know this test")),
        (0, EMPTY, Verdict(Outcome.SKIPPED, "it asserts nothing: mode skip")),
        (0, "", Verdict(Outcome.FAILED, "the runner said neither that the test passed nor that it was skipped")),
    ],
)
def test_what_the_runner_says(status: int, output: str, verdict: Verdict) -> None:
    assert classified(status, output) == verdict


def test_lines_keep_their_numbers() -> None:
    text = "require vgi\n\nrequire httpfs\n\nrequire icu\n\nrequire json\n"
    assert adapted(text, LANES["stdio"], ["httpfs", "json"]) == (
        "require vgi\n\n# httpfs is loaded\n\nrequire icu\n\nrequire json\n",
        ["httpfs"],
    )


@pytest.mark.parametrize(
    ("statement", "adapted_statement"),
    [
        ("ATTACH 'a' (TYPE vgi,\n LOCATION '${W}'\n);", "ATTACH 'a' (TYPE vgi,\n LOCATION '${W}', pool false\n);"),
        ("ATTACH 'a' (LOCATION '${W}', cache false);", "ATTACH 'a' (LOCATION '${W}', pool false, cache false);"),
        ("ATTACH 'a' (LOCATION '${W}', pool true);",) * 2,
        ("ATTACH 'a' (LOCATION '${W}', pool_max 1);", "ATTACH 'a' (LOCATION '${W}', pool false, pool_max 1);"),
        ("ATTACH ':memory:' AS a;\n\nSELECT 'LOCATION ''x''';",) * 2,
    ],
)  # fmt: skip
def test_attach_without_a_pool(statement: str, adapted_statement: str) -> None:
    assert adapted(statement, LANES["stdio-nopool"], []) == (adapted_statement, [])
    assert adapted(statement, LANES["stdio"], []) == (statement, [])


def test_workers_by_variable() -> None:
    commands = worker_variables(LANES["launch"], {"VGI_TEST_WORKER": "other --flag"})
    assert commands["VGI_TEST_WORKER"] == "launch:other --flag"
    assert commands["VGI_VERSIONED_WORKER"] == f"launch:{sys.executable} -m vgi_fast.examples.versioned_worker"
    assert commands.keys() == WORKERS.keys()


def test_special_variables_are_given_where_their_extensions_are() -> None:
    name, extensions = SPECIALS[0].pattern, {each: Path(each) for each in SPECIALS[0].extensions}
    assert special_for(name, extensions) is SPECIALS[0]
    assert special_for(name, {}) is None
    assert special_for("integration/scalar/double", extensions) is None


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    verdicts = {
        ("stdio", "vgi"): Verdict(Outcome.PASSED),
        ("launch", "vgi"): Verdict(Outcome.PASSED),
        ("stdio", "integration/a/b"): Verdict(Outcome.FAILED, "line 3: a|b\\c"),
        ("launch", "integration/a/b"): Verdict(Outcome.SKIPPED, "require-env A"),
    }
    explain = results.Explanations({"require-env A": "no A"}, {"integration/a/b": {"stdio": "b is | hard"}}, {})
    text = results.render(verdicts, "123", explain)
    path = tmp_path / "results.md"
    path.write_text(text)
    assert results.read(path) == verdicts
    assert "| stdio | 1 | 1 | 0 |" in text
    assert "| a | 0 of 1 | 0 of 1 |" in text
    assert "| vgi | stdio, launch |" in text
    assert "| integration/a/b | launch | skipped | require-env A | no A |" in text
    assert "| integration/a/b | stdio | failed | line 3: a\\|b\\c | b is \\| hard |" in text


def test_changes() -> None:
    passed, failed = Verdict(Outcome.PASSED), Verdict(Outcome.FAILED, "line 3: no")
    recorded = {("stdio", "a"): passed, ("stdio", "b"): failed, ("stdio", "c"): passed, ("shm", "a"): passed}
    now = {("stdio", "a"): failed, ("stdio", "b"): passed, ("stdio", "c"): passed, ("stdio", "d"): failed}
    assert results.changes(recorded, now) == (
        ["stdio: a: failed: line 3: no (recorded: passed)"],
        ["stdio: b: passed (recorded: failed)", "stdio: d: failed: line 3: no (not recorded)"],
    )
    assert results.changes(recorded, {("stdio", "a"): failed}, {"a"}) == (
        [],
        ["stdio: a: failed: line 3: no (recorded: passed)"],
    )
    skipped = Verdict(Outcome.SKIPPED, "require-env A")
    assert results.changes(recorded, {("shm", "a"): skipped})[0] == [
        "shm: a: skipped: require-env A (recorded: passed)"
    ]


def test_every_result_has_its_reason() -> None:
    explain = results.Explanations.load(results.REASONS)
    for (lane, test), verdict in results.read(results.RESULTS).items():
        assert verdict.outcome is Outcome.PASSED or verdict.reason, (lane, test)
        assert verdict.outcome is not Outcome.SKIPPED or explain.why(test, [lane], verdict), (lane, test)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests ``one`` and ``two``, a program that reads their words, and an empty record."""
    pytest.importorskip("duckdb")
    folder = tmp_path / "extension" / "test" / "sql" / "integration" / "group"
    folder.mkdir(parents=True)
    (folder / "one.test").write_text("ATTACH 'a' (LOCATION '${W}');")
    (folder / "two.test").write_text("SKIP")
    runner = tmp_path / "runner"
    runner.write_text(RUNNER.format(python=sys.executable, passed=PASSED))
    runner.chmod(0o755)
    monkeypatch.setenv("VGI_SRC", str(tmp_path / "extension"))
    monkeypatch.setenv("VGI_UNITTEST", str(runner))
    monkeypatch.setenv("VGI_RPC_SHM_SIZE_BYTES", "1")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.md")
    monkeypatch.setattr(suite, "LOGS", tmp_path / "logs")
    return folder


def test_recording_and_comparing(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lanes = ["--lane", "stdio", "--lane", "stdio-nopool"]
    assert suite.main([*lanes, "--update"]) == 0
    recorded = results.read(tmp_path / "results.md")
    assert recorded == {
        (lane, f"integration/group/{test}"): verdict
        for lane in ("stdio", "stdio-nopool")
        for test, verdict in {
            "one": Verdict(Outcome.PASSED),
            "two": Verdict(Outcome.SKIPPED, "require-env NOTHING"),
        }.items()
    }
    capsys.readouterr()
    assert suite.main([*lanes, "--only", "*/one"]) == 0
    counts = "1 passed, 0 failed, 0 skipped"
    assert capsys.readouterr().out == f"stdio: {counts}\nstdio-nopool: {counts}\n"
    (checkout / "one.test").write_text("FAIL")
    assert suite.main(["--lane", "stdio"]) == 1
    told = "stdio: integration/group/one: failed: the runner ended with status 1 (recorded: passed)"
    assert told in capsys.readouterr().out
    (checkout / "one.test").unlink()
    assert suite.main(["--lane", "stdio", "--update"]) == 0
    assert {test for _, test in results.read(tmp_path / "results.md")} == {"integration/group/two"}


def test_what_a_test_is_given(checkout: Path, tmp_path: Path) -> None:
    (checkout / "one.test").write_text("require httpfs\n\nATTACH 'a' (LOCATION '${W}');")
    suite.main(["--lane", "stdio-nopool", "--lane", "shm", "--only", "integration/group/one"])
    log = (tmp_path / "logs/stdio-nopool/integration/group/one.log").read_text()
    assert "(LOCATION '${W}', pool false);" in log
    assert f"VGI_TEST_WORKER={sys.executable} -m vgi_fast.examples.example_worker\n" in log
    assert "VGI_RPC_SHM_SIZE_BYTES" not in log
    assert "VGI_RPC_SHM_SIZE_BYTES=67108864" in (tmp_path / "logs/shm/integration/group/one.log").read_text()


def test_a_test_that_does_not_end(checkout: Path, tmp_path: Path) -> None:
    (checkout / "one.test").write_text("hang")
    suite.main(["--lane", "stdio", "--timeout", "0.5", "--update"])
    verdict = results.read(tmp_path / "results.md")["stdio", "integration/group/one"]
    assert verdict == Verdict(Outcome.FAILED, "no end after 0.5 s")


@pytest.mark.parametrize("variable", ["VGI_SRC", "VGI_UNITTEST"])
def test_what_is_missing_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/nowhere")
    with pytest.raises(SystemExit, match=f"^{variable} names .*, and /nowhere does not exist$"):
        suite.main([])
    monkeypatch.delenv(variable)
    with pytest.raises(SystemExit, match=f"^{variable} is not set: it names "):
        suite.main([])


def test_nothing_chosen(checkout: Path) -> None:
    with pytest.raises(SystemExit, match="no test was chosen"):
        suite.main(["--lane", "stdio", "--only", "nothing"])
