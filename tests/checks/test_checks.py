# SPDX-License-Identifier: Apache-2.0
"""Each check catches what it is there for: a violation is planted, and must be named."""
import os
import pathlib
import shutil
import subprocess

import pytest

import check_layers

HERE = pathlib.Path(__file__).parent
SPDX_C = "/* SPDX-License-Identifier: Apache-2.0 */\n"
SPDX_PY = "# SPDX-License-Identifier: Apache-2.0\n"


def c_function(length):
    """A function of that many lines, from its signature to its closing brace."""
    return SPDX_C + "\nint f(int a,\n      int b)\n{\n" + "\t;\n" * (length - 4) + "}\n"


GOOD = {
    "src/main.c": SPDX_C + "#include <pailfs/lock.h>\n#include <pailfs/options.h>\n",
    "src/options.c": SPDX_C,
    "src/base/lock.c": SPDX_C + "#include <pailfs/lock.h>\n",
    "src/http/loop.c": SPDX_C + "#include <curl/curl.h>\n#include <pailfs/lock.h>\n",
    "src/s3/sign.c": SPDX_C + "#include <openssl/evp.h>\n",
    "src/s3/xml_list.c": SPDX_C + "#include <libxml/parser.h>\n",
    "src/fs/inode.c": SPDX_C + '#include <pailfs/cache.h>\n#include "inode.h"\n',
    "src/fs/inode.h": SPDX_C,
    "src/mount/ops.c": SPDX_C + "#include <fuse_lowlevel.h>\n#include <pailfs/fs.h>\n",
    "include/pailfs/lock.h": SPDX_C + "struct lock {\n\tint (*held)(void);\n};\n"
    + "/* Takes it. */\nvoid lock_acquire(struct lock *l);\n"
    + "/*\n * Gives it.\n */\nint lock_release(struct lock *l,\n\t\t int how)\n"
    + "\t__attribute__((nonnull(1)));\ntypedef int lock_fn(int);\n",
    "tests/unit/xfer/test_xfer.c": SPDX_C + "#include <pailfs/http.h>\n",
    "tests/s3d/auth.c": SPDX_C + "#include <openssl/evp.h>\n",
    "src/base/long.c": c_function(100),
    "tests/full.py": SPDX_PY + "\n" * 599,
}

BAD = [
    ("src/base/a.c", SPDX_C + "\n" * 600, "601 lines, at most 600"),
    ("tests/a.py", SPDX_PY + "\n" * 600, "601 lines, at most 600"),
    ("src/base/a.c", c_function(101), ":3: f() has 101 lines, at most 100"),
    ("tests/a.py", SPDX_PY + "def g():\n" + "    x = 1\n" * 100, "g() has 101 lines"),
    ("tests/a.sh", SPDX_PY + "h() {\n" + "\ttrue\n" * 99 + "}\n", "h() has 101 lines"),
    ("src/base/a.c", "int x;\n", "no line 'SPDX"),
    ("tests/meson.build", "foreach\n", "no line 'SPDX"),
    ("src/base/a.c", SPDX_C + "#include <pailfs/fs.h>\n", "base/ must not see <pailfs/fs.h>"),
    ("src/cache/a.c", SPDX_C + "#include <pailfs/http.h>\n", "cache/ must not see"),
    ("src/fs/a.c", SPDX_C + "#include <pailfs/http.h>\n", "fs/ must not see"),
    ("src/mount/a.c", SPDX_C + "#include <pailfs/xfer.h>\n", "mount/ must not see"),
    ("include/pailfs/cache.h", SPDX_C + "#include <pailfs/fs.h>\n", "cache/ must not see"),
    ("include/pailfs/odd.h", SPDX_C, "belongs to no floor"),
    ("src/odd/a.c", SPDX_C, "belongs to no floor"),
    ("src/fs/a.c", SPDX_C + "#include <pailfs/odd.h>\n", "belongs to no floor"),
    ("src/mount/a.c", SPDX_C + "#include <pailfs/options.h>\n", "mount/ must not see"),
    ("tests/unit/base/a.c", SPDX_C + "#include <pailfs/s3.h>\n", "base/ must not see"),
    ("tests/s3d/a.c", SPDX_C + "#include <pailfs/buf.h>\n", "shares nothing"),
    ("src/xfer/a.c", SPDX_C + '#include "../fs/inode.h"\n', "is not a header of src/xfer/"),
    ("src/xfer/a.c", SPDX_C + '#include "inode.h"\n', "is not a header of src/xfer/"),
    ("include/pailfs/fs.h", SPDX_C + '#include "inode.h"\n', "includes no private one"),
    ("src/xfer/a.c", SPDX_C + "#include <curl/curl.h>\n", "belongs in src/http/ only"),
    ("src/s3/url.c", SPDX_C + "#include <openssl/sha.h>\n", "belongs in src/(s3/(sign"),
    ("src/s3/list.c", SPDX_C + "#include <libxml/tree.h>\n", "belongs in src/s3/xml"),
    ("src/fs/a.c", SPDX_C + "#include <fuse3/fuse.h>\n", "belongs in src/mount/ only"),
    ("include/pailfs/fs.h", SPDX_C + "#include <fuse.h>\n", "belongs in src/mount/ only"),
    ("include/pailfs/fs.h", SPDX_C + "int fs_go(void);\n", "contract comment directly above fs_go"),
    ("include/pailfs/fs.h", SPDX_C + "/* One. */\nint fs_a(void);\nint fs_b(void);\n", "fs_b"),
    ("include/pailfs/fs.h", SPDX_C + "/* It. */\n\nchar *fs_c(\n\tint a);\n", "above fs_c"),
    ("include/pailfs/fs.h", SPDX_C + "#define A\nstatic inline int fs_d(void)\n{\n}\n", "fs_d"),
]


@pytest.fixture
def tree(tmp_path):
    for name, text in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def plant(tree, name, text):
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)


def test_a_good_tree_has_no_complaint(tree):
    assert list(check_layers.check(tree)) == []


@pytest.mark.parametrize("name,text,expected", BAD)
def test_layers_catch(tree, name, text, expected):
    plant(tree, name, text)
    complaints = list(check_layers.check(tree))
    assert len(complaints) == 1, complaints
    assert complaints[0].startswith(name + ":") and expected in complaints[0]


def test_an_empty_tree_is_a_complaint(tmp_path):
    assert list(check_layers.check(tmp_path)) != []


def test_format_catches(tree):
    for path in tree.rglob("*.[ch]"):
        path.write_text(SPDX_C + "int f(void);\n")
    shutil.copy(HERE.parents[1] / ".clang-format", tree)
    command = [HERE / "check_format.sh", tree]
    assert subprocess.run(command, check=False).returncode == 0
    plant(tree, "src/fs/inode.c", SPDX_C + "int  f( void );\n")
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode != 0 and "src/fs/inode.c:2" in run.stderr


# One bug for each sanitizer, and the words of its report.
BUGS = [
    ("address", "heap-use-after-free", "char *p = malloc(9); free(p); return p[argc];"),
    ("address", "detected memory leaks",
     "char *volatile p = malloc(9); p = NULL; return p != NULL;"),
    ("undefined", "signed integer overflow", "int big = 0x7fffffff; return big + argc;"),
    ("undefined", "shift exponent", "return 1 << (argc + 40);"),
    ("thread", "data race", "pthread_t t; pthread_create(&t, NULL, add, NULL); add(NULL);"
     " pthread_join(t, NULL); return 0;"),
]
PROGRAM = """#include <pthread.h>
#include <stdlib.h>
static int sum;
void *add(void *unused) { (void)unused; for (int i = 0; i < 9999; i++) sum++; return NULL; }
int main(int argc, char **argv) { (void)argv; %s }
"""


@pytest.mark.parametrize("sanitizer,words,bug", BUGS)
def test_sanitizers_catch(tmp_path, sanitizer, words, bug):
    """With the options that tests/run.sh gives to every sanitized process."""
    source = tmp_path / "bug.c"
    source.write_text(PROGRAM % bug)
    program = tmp_path / "bug"
    subprocess.run(["gcc", "-g", f"-fsanitize={sanitizer}", "-o", program, source, "-pthread"],
                   check=True)
    script = f'. "{HERE.parent}/lib/sanitizers.sh" && sanitizers_export "{HERE.parent}/lib" &&' \
             f' "{program}"; code=$?; [ $code -eq $SANITIZER_EXIT_CODE ]'
    run = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True,
                         env={"PATH": os.environ["PATH"]})
    assert run.returncode == 0 and words in run.stderr, run.stderr


def results(kind, *paths):
    run = subprocess.run([HERE.parent / "lib/results.py", kind, *paths], check=True,
                         capture_output=True, text=True)
    counts, _, text = run.stdout.partition("\n")
    return [int(count) for count in counts.split()], text


def test_results_of_pytest_count_failures_errors_and_skips(tmp_path):
    plant(tmp_path, "test_it.py", """import pytest
@pytest.fixture
def bad_end():
    yield
    assert 0, "teardown words"
def test_good(): pass
def test_bad(): assert 1 == 2, "body words"
def test_end(bad_end): pass
@pytest.mark.parametrize("n", [1, 2])
def test_skip(n): pytest.skip("skip words")
""")
    subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                    "--junit-xml=out.xml"], cwd=tmp_path, check=False, capture_output=True)
    counts, text = results("junit", tmp_path / "out.xml")
    assert counts == [1, 2, 2]  # a test whose end fails has not passed
    assert "body words" in text and "teardown words" in text
    assert "skip words: test_it::test_skip (2)" in text


def test_results_of_meson_count_failures(tmp_path):
    plant(tmp_path, "log.json", '{"name": "a", "result": "OK"}\n{"name": "b", "result": "FAIL",'
          ' "stdout": "its words"}\n{"name": "c", "result": "TIMEOUT"}\n')
    counts, text = results("meson", tmp_path / "log.json")
    assert counts == [1, 2, 0] and "its words" in text


def test_results_that_are_missing_cut_or_empty_are_failures(tmp_path):
    plant(tmp_path, "cut.xml", "<testsuites><testsuite><testcase name='a'/>")
    plant(tmp_path, "empty.json", "")
    assert results("junit", tmp_path / "none.xml")[0] == [0, 1, 0]
    assert results("junit", tmp_path / "cut.xml")[0] == [0, 1, 0]
    assert results("meson", tmp_path / "empty.json")[0] == [0, 1, 0]


def junit(path, **outcomes):
    cases = "".join(f'<testcase classname="t" name="{name}">{body}</testcase>'
                    for name, body in outcomes.items())
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")


def test_a_second_run_counts_and_tells_what_failed_at_first(tmp_path):
    first, again, none = (tmp_path / name for name in ("first.xml", "again.xml", "none.xml"))
    junit(first, good="", stall="<failure>it stalled</failure>", bug="<failure>one</failure>")
    junit(again, stall="", bug="<failure>two</failure>")
    counts, text = results("junit", first, "--again", again)
    assert counts == [2, 1, 0]
    assert "PASSED ONLY THE SECOND TIME t::stall" in text and "it stalled" in text
    assert "FAILED t::bug" in text and "two" in text
    assert results("junit", first, "--again", none)[0] == [1, 3, 0]
