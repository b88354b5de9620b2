# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tables are sound, and its checks and limits catch what they are there for."""
import pathlib
import subprocess
import sys
import time
import zlib

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import bench  # pylint: disable=wrong-import-position
import content  # pylint: disable=wrong-import-position
import mounts  # pylint: disable=wrong-import-position
import peers  # pylint: disable=wrong-import-position
import report  # pylint: disable=wrong-import-position
from rows import Target, rows  # pylint: disable=wrong-import-position
from server import PROFILES  # pylint: disable=wrong-import-position

FIGURES = {"mb_per_s", "ops_per_s", "files_per_s", "keys_per_s", "ms", "cpu_s_per_gb", "rss_mib",
           "amplification", "close_s"}
GEN = [peers.PYTHON, str(BENCH / "gen.py")]


@pytest.mark.parametrize("quick", [True, False])
def test_each_row_names_profiles_peers_and_figures_that_there_are(quick):
    known = peers.read_peers()
    for row in rows(quick).values():
        assert set(row.profiles) <= set(PROFILES) and set(row.chosen) <= set(row.profiles)
        assert row.figure in FIGURES and "pailfs" in row.peers
        assert len(set(row.peers)) == len(row.peers) and set(row.peers) <= set(known)
        for target in row.targets:
            assert target.profile in row.profiles and target.peer in row.peers, (row.name, target)
            assert target.figure in FIGURES and target.op in (">=", "<=")
            assert target.of is None or target.of in row.peers


def test_no_two_rows_write_over_each_others_objects():
    prefixes = {}
    for row in rows().values():
        work = row.work
        for place in filter(None, (work.data, work.names, work)):
            if getattr(place, "prefix", None):
                assert prefixes.setdefault(place.prefix, place) is place
    assert len(prefixes) > 10


@pytest.mark.parametrize("peer,row,takes_part", [
    ("pailfs", "seqread", True), ("curl", "seqread", True), ("curl", "rmr", False),
    ("pailfs-unsigned", "seqwrite", True), ("pailfs-unsigned", "seqread", False),
    ("fuse", "rmr", True), ("local", "first4k", True), ("other", "rmr", True)])
def test_a_row_measures_the_peers_that_it_names_and_those_that_no_row_does(peer, row, takes_part):
    table, known = rows(), peers.read_peers(["other=other {mount}"])
    assert bench.takes_part(table[row], known[peer], table) is takes_part


@pytest.mark.parametrize("op,bound,of,reached", [
    (">=", 100, None, True), (">=", 101, None, False), ("<=", 100, None, True),
    ("<=", 99, None, False), (">=", 0.5, "curl", True), (">=", 0.51, "curl", False),
    (">=", 1, "s3fs", None)])
def test_a_target_is_held_against_the_median(op, bound, of, reached):
    lines = [{"profile": "s3", "peer": name, "median": {"ms": value}, "figure": "ms"}
             for name, value in (("pailfs", 100), ("curl", 200))]
    lines.append({"profile": "s3", "peer": "s3fs", "figure": "ms", "failed": "it hung"})
    assert report.check_target(lines, Target("s3", "pailfs", "ms", op, bound, of))[2] is reached


def test_a_figure_that_a_run_lacks_has_no_median():
    """A slow peer moves too little in one of its runs for a figure a GB."""
    runs = [report.finish({"ops_per_s": moved / 4096, "cpu_s": 1, "moved_bytes": moved})
            for moved in (2 << 20, 1 << 20, 4096)]
    line = report.summary(rows(True)["random4kx4"], "s3", "rclone", runs, None)
    assert line["median"]["ops_per_s"] == 256 and "cpu_s_per_gb" in runs[0]
    assert "cpu_s_per_gb" not in line["median"]


def test_contents_are_incompressible_and_no_two_pieces_are_equal():
    pieces = [bytes(piece) for piece in content.Large(9 * content.MIB + 5).pieces()]
    assert sum(map(len, pieces)) == 9 * content.MIB + 5 and len(set(pieces)) == len(pieces)
    assert len(zlib.compress(pieces[0], 1)) > 0.999 * content.MIB
    small = content.Small(100, 4096)
    assert len({bytes(small.of(number, 4096)) for number in range(100)}) == 100


def test_a_reader_names_a_wrong_byte(tmp_path):
    subprocess.run([*GEN, "create", str(tmp_path), "10", "5000", "2", "60"], check=True,
                   capture_output=True)
    read = [*GEN, "read", str(tmp_path), "10", "5000", "2", "60", "1"]
    assert subprocess.run(read, check=False, capture_output=True).returncode == 0
    path = tmp_path / "f00007"
    data = bytearray(path.read_bytes())
    data[4999] ^= 1
    path.write_bytes(data)
    done = subprocess.run(read, check=False, capture_output=True, text=True)
    assert done.returncode != 0 and "WRONG DATA in f00007" in done.stderr


def test_a_program_that_hangs_is_cut_off_and_ended_with_its_children():
    begin = time.monotonic()
    with pytest.raises(mounts.Cut):
        mounts.run_all([["sh", "-c", "sleep 1234.5 & wait"]], 0.3)
    assert time.monotonic() - begin < 20
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 1234.5" not in listed.stdout.splitlines()


def test_a_failed_program_and_a_mount_that_ends_at_once_say_why(tmp_path):
    with pytest.raises(mounts.Failed, match="ended with 1: .*no-such-file"):
        mounts.run_all([["cat", "/no-such-file"]], 20)
    with pytest.raises(mounts.Failed, match="does not mount: no luck"):
        with mounts.Mount("sh -c 'echo no luck; exit 3'", tmp_path, None):
            pass
