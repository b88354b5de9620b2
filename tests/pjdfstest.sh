#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo tests/pjdfstest.sh SUITE_DIR [TEST...]: runs pjdfstest (https://github.com/pjd/pjdfstest, built in SUITE_DIR; no
# part of this tree) on a mount with posix,allow_suid,allow_other and holds what fails against tests/pjdfstest-failures.txt.
# Exit 1 if a test fails that is not in the list. PAILFS_BIN and PAILFS_S3D name the programs; TESTs are files below
# SUITE_DIR/tests (default: all). PAILFS_PJD_OPTIONS adds mount options, PAILFS_PJD_KEEP=FILE keeps the results.
#
# A result is one line: FILE NUMBER ok|not ok. By hand, not in CI: with PAILFS_PJD_JOBS=8 it takes a few minutes, mostly
# its own sleeps. Nothing else may drop the kernel's caches meanwhile (a benchmark does): a renamed file that the kernel
# has forgotten has the inode number of its new name, and rename/00, 09 and 10 compare numbers.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
suite=$(readlink -f "${1:?usage: $0 SUITE_DIR [TEST...]}")
shift
[ "$(id -u)" = 0 ] || { echo "must be root: half of the tests change users" >&2; exit 2; }
[ -x "$suite/pjdfstest" ] || { echo "$suite/pjdfstest is not built: autoreconf -ifs && ./configure && make" >&2; exit 2; }
: "${PAILFS_BIN:?}" "${PAILFS_S3D:?}"
if [ $# = 0 ]; then
	mapfile -t tests < <(cd "$suite/tests" && find . -name '*.t' | sed 's|^\./||' | sort)
else
	tests=("$@")
fi

dropped() { awk '$1 == "drop_slab" { print $2 }' /proc/vmstat; }
dropped_before=$(dropped)

work=$(mktemp -d "${TMPDIR:-/var/tmp}/pailfs-pjdfstest.XXXXXX")
chmod 755 "$work"
mkdir "$work/data" "$work/mnt" "$work/results"
server=
daemon=
finish() {
	umount "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null || true
	[ -z "$daemon" ] || wait "$daemon" 2>/dev/null || true
	[ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
	[ -z "${PAILFS_PJD_KEEP:-}" ] || cp "$work/all" "$PAILFS_PJD_KEEP" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap finish EXIT

mkfifo "$work/port" "$work/ready"
"$PAILFS_S3D" --dir "$work/data" --port 0 --ready-fd 3 --make-bucket pjd 3>"$work/port" 2>"$work/s3d.log" &
server=$!
read -r port <"$work/port"
export AWS_ACCESS_KEY_ID=AKIDS3D AWS_SECRET_ACCESS_KEY=s3d-secret-key AWS_EC2_METADATA_DISABLED=true
"$PAILFS_BIN" -f pjd "$work/mnt" -o "ready_fd=3,endpoint=http://127.0.0.1:$port,region=us-east-1" \
	-o "posix,allow_suid,allow_other${PAILFS_PJD_OPTIONS:+,$PAILFS_PJD_OPTIONS}" 3>"$work/ready" 2>"$work/pailfs.log" &
daemon=$!
read -r line <"$work/ready" || { cat "$work/pailfs.log" >&2; exit 1; }
echo "mounted ($line); ${#tests[@]} files"

# Each file in a directory of its own, four at a time: they mostly sleep.
one() {
	local name=${1//\//_}
	mkdir -p "$work/mnt/$name"
	(cd "$work/mnt/$name" && timeout 900 bash "$suite/tests/$1" >"$work/results/$name" 2>/dev/null) || true
	# what the suite itself expects to fail (TODO) has passed, as prove(1) counts
	awk -v test="$1" '/^ok [0-9]/ || /^not ok [0-9]+ # TODO/ { sub(/^not /, ""); print test, $2, "ok"; next }
		/^not ok [0-9]/ { print test, $3, "not ok", $0 }
		/^1\.\.[0-9]+$/ { sub(/^1\.\./, ""); plan = $0 } END { if (plan != "" && plan != NR - 1) print test, 0, "not ok", "ended early" }' \
		"$work/results/$name" >"$work/results/$name.lines"
}
export -f one
export work suite
printf '%s\n' "${tests[@]}" | xargs -P "${PAILFS_PJD_JOBS:-4}" -I{} bash -c "one {}"

sort "$work"/results/*.lines >"$work/all"
passed=$(grep -c ' ok$' "$work/all" || true)
grep ' not ok' "$work/all" | awk '{ print $1, $2 }' | sort >"$work/failed" || true
awk '!/^#/ && NF { print $1, $2 }' "$here/pjdfstest-failures.txt" | sort >"$work/known"
comm -23 "$work/failed" "$work/known" >"$work/new"
echo "$passed passed, $(wc -l <"$work/failed") failed, $(wc -l <"$work/new") of them not in the list"
[ "$(dropped)" = "$dropped_before" ] || echo "somebody has dropped the kernel's caches meanwhile: inode numbers may differ"
if [ -s "$work/new" ]; then
	grep ' not ok ' "$work/all" | grep -F -f <(sed 's/$/ not ok/' "$work/new") || true
	exit 1
fi
