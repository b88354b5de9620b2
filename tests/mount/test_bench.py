# SPDX-License-Identifier: Apache-2.0
"""tests/bench runs: it measures, finds wrong bytes, and leaves nothing behind when it is ended."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench/bench.py"
PLAIN = os.environ.get("PAILFS_SANITIZER", "none") in ("", "none")
QUICK_BYTES = 32 << 20

pytestmark = [pytest.mark.skipif(os.environ.get("PAILFS_TEST_SERVER", "s3d") != "s3d",
                                 reason="needs s3d: the benchmark's server"),
              pytest.mark.skipif(not PLAIN, reason="a benchmark measures no sanitizer"),
              pytest.mark.skipif(os.geteuid() != 0, reason="the benchmark unmounts with umount")]


def start(tmp_path, *words):
    build = pathlib.Path(os.environ["PAILFS_BIN"]).parents[1]
    fusenull = str(build / "tests/bench/fusenull")
    return subprocess.Popen(
        ["/usr/bin/python3", str(BENCH), "--quick", "--keep-caches", "--profiles", "wire",
         "--out", str(tmp_path / "out"), "--dir", str(tmp_path), "--fusenull", fusenull,
         "--mount", "broken=false {mount}",
         "--mount", f"liar={fusenull} {{manifest}} {{mount}}", *words],
        env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


def left_behind(tmp_path):
    """Mounts, directories and processes of a run in tmp_path."""
    mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
              if str(tmp_path) in line]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    programs = [line for line in listed.stdout.splitlines() if f"{tmp_path}/pailfs-bench" in line]
    return mounts + programs + [str(path) for path in tmp_path.glob("pailfs-bench.*")]


@pytest.mark.bounded(180)
def test_a_quick_run_measures_finds_wrong_data_and_goes_on_after_failures(tmp_path):
    process = start(tmp_path, "--rows", "seqread,first4k,random4kx4",
                    "--peers", "liar,broken,pailfs,pailfs-unsigned,curl")
    text, _ = process.communicate()
    assert process.returncode == 0, text
    lines = {(line["row"], line["peer"]): line
             for line in json.loads((tmp_path / "out/results.json").read_text())["lines"]}
    assert "WRONG DATA" in lines["seqread", "liar"]["failed"]
    assert "does not mount" in lines["seqread", "broken"]["failed"]
    assert ("seqread", "pailfs-unsigned") not in lines  # the row does not name it
    for peer in ("pailfs", "curl"):
        median = lines["seqread", peer]["median"]
        assert median["object_down_bytes"] == QUICK_BYTES and median["mb_per_s"] > 0
        assert lines["first4k", peer]["median"]["ms"] > 0
        assert lines["random4kx4", peer]["median"]["ops_per_s"] > 0
    for row in ("first4k", "random4kx4"):  # the ceiling asks for no byte more
        assert lines[row, "curl"]["median"]["amplification"] <= 2  # one pass also checks
    assert lines["seqread", "pailfs"]["median"]["rss_mib"] > 1
    table = (tmp_path / "out/table.txt").read_text()
    assert "pailfs mb/s >= 0.7 x curl" in table and "memory: first touch" in table
    assert left_behind(tmp_path) == []


@pytest.mark.bounded(120)
def test_a_peer_that_takes_too_long_is_cut_off_and_does_not_stop_the_next(tmp_path):
    process = start(tmp_path, "--rows", "seqread", "--peers", "pailfs,fuse", "--cell-seconds",
                    "0.001")
    text, _ = process.communicate()
    assert process.returncode == 1, text  # pailfs has no figure
    for line in json.loads((tmp_path / "out/results.json").read_text())["lines"]:
        assert line["failed"] == "not done after 0.001 s", line
    assert left_behind(tmp_path) == []


@pytest.mark.bounded(120)
def test_creates_are_checked_and_held_against_what_the_kernel_lets_through(tmp_path):
    process = start(tmp_path, "--rows", "create64k,create64k-dirs", "--peers",
                    "pailfs,fuse-lookup30")
    text, _ = process.communicate()
    assert process.returncode == 0, text
    medians = {(line["row"], line["peer"]): line["median"]
               for line in json.loads((tmp_path / "out/results.json").read_text())["lines"]}
    assert all(median["done"] > 0 for median in medians.values())
    assert medians["create64k", "fuse-lookup30"]["files_per_s"] <= 1000 / 30
    assert left_behind(tmp_path) == []


@pytest.mark.bounded(120)
def test_ctrl_c_ends_a_run_and_leaves_nothing_behind(tmp_path):
    process = start(tmp_path, "--rows", "seqwrite", "--peers", "pailfs", "--rounds", "1000")
    end = time.monotonic() + 60
    while str(tmp_path) not in pathlib.Path("/proc/self/mountinfo").read_text():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert json.loads((tmp_path / "out/results.json").read_text())["lines"][0]["peer"] == "pailfs"
    assert left_behind(tmp_path) == []
