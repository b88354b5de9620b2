#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo ./tests/run.sh: installs what the tests need, builds, and runs them all.
#   --only SUITE   that suite alone (may be repeated); --list names them
#   --long         with the counts of the acceptance list
#   --build DIR    builds there and leaves it there (otherwise: a temporary directory)
#
# It ends with the line 'N passed, N failed[, N skipped]' and exits 1 if anything failed. A suite
# that cannot run here is skipped by name; with CI=true that is a failure.
set -euo pipefail
export LC_ALL=C.UTF-8

cd "$(dirname "$(readlink -f "$0")")/.."
. tests/lib/packages.sh
. tests/lib/sanitizers.sh

readonly PYTHON=/usr/bin/python3
readonly MOUNT_JOBS=8 # mount tests mostly wait; for two cores
readonly LIMITED_JOBS=4
readonly SUITE_SECONDS=1200 LONG_SUITE_SECONDS=7200
# Machines are shared and stall for seconds. So many failed tests of a suite run once more, by
# themselves; what then passes counts as passed and is told, with its first failure. More of them,
# or a sanitizer's report, is no stall.
readonly SECOND_CHANCES=3

# name         build  runner  meson's suite, or the server, marker, files (else all of tests/mount)
readonly SUITES='
checks         -      checks
unit           plain  meson   unit
s3d            plain  meson   s3d
unit-asan      asan   meson   unit
unit-tsan      tsan   meson   unit
mount-s3d      plain  mount   s3d     any
mount-tls      plain  mount   s3d-tls any         tests/mount/test_read.py tests/mount/test_access.py
mount-rgw      plain  mount   rgw     any
mount-asan     asan   mount   s3d     any
mount-tsan     tsan   mount   s3d     concurrent
'
declare -A BUILD_OPTIONS=(
	[plain]=""
	[asan]="-Db_sanitize=address,undefined -Dc_args=-fno-omit-frame-pointer"
	[tsan]="-Db_sanitize=thread"
)

passed=0 failed=0 skipped=0
wanted=() long='' build_dir='' work=''
declare -A built=()

usage() { sed -n '4,10s/^# \{0,1\}//p' tests/run.sh; }

suite_names() { awk 'NF { print $1 }' <<<"$SUITES"; }

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--only)
			suite_names | grep -qx -- "${2:-}" || { usage >&2; exit 2; }
			wanted+=("$2")
			shift
			;;
		--long) long=1 ;;
		--build)
			build_dir=${2:?--build needs a directory}
			shift
			;;
		--list)
			suite_names
			exit 0
			;;
		*)
			usage >&2
			exit 2
			;;
		esac
		shift
	done
	[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(suite_names)
}

# Nothing of the caller's settings may reach a daemon or a client under test.
clean_environment() {
	local name
	for name in $(compgen -e); do
		case $name in
		*_CA_* | AWS_* | PAILFS_* | S3_* | *_proxy | *_PROXY) unset "$name" ;;
		esac
	done
}

# no_aslr COMMAND...: gcc 12's ThreadSanitizer does not start under the address space
# randomisation of newer kernels.
no_aslr() {
	if setarch -R true 2>/dev/null; then
		setarch -R "$@"
	else
		"$@"
	fi
}

indent() { sed 's/^/  /'; }

count() { # count PASSED FAILED SKIPPED
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# report NAME BEGIN PASSED FAILED SKIPPED: counts, and prints the line of a stage.
report() {
	count "$3" "$4" "$5"
	printf '%-12s %5d passed %4d failed %4d skipped %6d s\n' "$1" "$3" "$4" "$5" $((SECONDS - $2))
}

# report_log NAME BEGIN KIND FILE...: the same from logs, with what failed and what was skipped.
report_log() {
	local name=$1 begin=$2 text counts
	shift 2
	text=$("$PYTHON" tests/lib/results.py "$@")
	read -r -a counts <<<"${text%%$'\n'*}"
	report "$name" "$begin" "${counts[@]}"
	[[ $text != *$'\n'* ]] || indent <<<"${text#*$'\n'}"
}

skip_suite() { # skip_suite NAME WHY
	if [ "${CI:-}" = true ]; then
		report "$1" $SECONDS 0 1 0
		echo "  FAILED: cannot run here: $2"
	else
		report "$1" $SECONDS 0 0 1
		echo "  skipped: $2"
	fi
}

# build NAME: sets built[NAME] to yes or no. A build that fails is a failure of its own.
build() {
	local begin=$SECONDS dir=$build_dir/$1 log=$work/build-$1.log reconfigure=
	[ -z "${built[$1]:-}" ] || return 0
	[ ! -e "$dir/build.ninja" ] || reconfigure=--reconfigure
	# shellcheck disable=SC2086 # options are words
	if meson setup $reconfigure -Dwerror=true ${BUILD_OPTIONS[$1]} "$dir" . >"$log" 2>&1 &&
		ninja -C "$dir" >>"$log" 2>&1; then
		built[$1]=yes
		report "build $1" "$begin" 1 0 0
	else
		built[$1]=no
		report "build $1" "$begin" 0 1 0
		grep -E -A 12 'FAILED|ERROR|error:' "$log" | head -n 60 | indent
	fi
}

# check NAME COMMAND...: one of the checks of the source; its complaints are printed.
check() {
	local name=$1 begin=$SECONDS
	shift
	if "$@" >"$work/check.out" 2>&1; then
		report "$name" "$begin" 1 0 0
	else
		report "$name" "$begin" 0 1 0
		head -n 60 "$work/check.out" | indent
	fi
}

# run_pytest NAME ARGUMENT...: leaves $work/NAME.xml and .log.
run_pytest() {
	local name=$1 limit=$SUITE_SECONDS
	shift
	[ -z "$long" ] || limit=$LONG_SUITE_SECONDS
	no_aslr timeout -k 20 "$limit" "$PYTHON" -m pytest -q -p no:cacheprovider \
		--basetemp="$work/tmp/$name" --junit-xml="$work/$name.xml" "$@" \
		>"$work/$name.log" 2>&1 || true
	[ -e "$work/$name.xml" ] || tail -n 60 "$work/$name.log"
}

run_checks() {
	local begin scripts
	mapfile -t scripts < <(find tests -mindepth 2 -name '*.sh')
	check layers tests/checks/check_layers.py
	check format tests/checks/check_format.sh
	check shell shellcheck -x -P SCRIPTDIR -P . quickstart.sh .ci/run tests/*.sh \
		"${scripts[@]}"
	begin=$SECONDS
	run_pytest checks tests/checks
	report_log self-tests "$begin" junit "$work/checks.xml"
}

run_meson() { # run_meson SUITE BUILD MESON-SUITE
	local begin=$SECONDS log=$work/$1.json names again=()
	meson_test "$2" "$log" --suite "$3"
	mapfile -t names < <("$PYTHON" tests/lib/results.py meson "$log" --failed | sed 's|.* / ||')
	if [ ${#names[@]} -gt 0 ] && [ ${#names[@]} -le $SECOND_CHANCES ] && [ -n "${names[0]}" ]; then
		meson_test "$2" "$log.again" --num-processes 1 "${names[@]}"
		again=(--again "$log.again")
	fi
	report_log "$1" "$begin" meson "$log" "${again[@]}"
	report_sanitizer
}

meson_test() { # meson_test BUILD LOG ARGUMENT...: leaves meson's log of the tests there
	local dir=$build_dir/$1 log=$2 multiplier=1
	shift 2
	[ "$dir" = "$build_dir/plain" ] || multiplier=4
	rm -f "$dir/meson-logs/testlog.json"
	no_aslr meson test -C "$dir" --no-rebuild --timeout-multiplier $multiplier "$@" \
		>"$log.out" 2>&1 || true
	[ ! -e "$dir/meson-logs/testlog.json" ] || cp "$dir/meson-logs/testlog.json" "$log"
}

run_mount() { # run_mount SUITE BUILD SERVER MARKER [FILE...]
	local suite=$1 server=$3 all=$4 marked="($4) and" begin=$SECONDS dir=$build_dir/$2 sanitizer=$2
	[ "$4" != any ] || all='' marked=''
	[ "$sanitizer" != plain ] || sanitizer=none
	shift 4
	[ $# -gt 0 ] || set -- tests/mount
	if ! (: <>/dev/fuse) 2>/dev/null; then
		skip_suite "$suite" "/dev/fuse cannot be opened"
		return
	fi
	if [ "$server" = rgw ] && ! rgw_start; then
		skip_suite "$suite" "Ceph's RGW did not start: $(tail -n 1 "$work/rgw.log")"
		return
	fi
	export PAILFS_BIN=$dir/src/pailfs PAILFS_S3D=$build_dir/plain/tests/s3d/s3d
	export PAILFS_TEST_SERVER=$server PAILFS_SANITIZER=$sanitizer PAILFS_LONG=$long
	export PAILFS_FAILED=$work/$suite.failed
	# Tests that measure time or memory have the machine for themselves, those of a small rate
	# share it; under a sanitizer nothing is measured.
	if [ "$sanitizer" = none ]; then
		run_pytest "$suite" -n "$MOUNT_JOBS" -m "$marked not alone and not limited" "$@"
		run_pytest "$suite-limited" -n "$LIMITED_JOBS" -m "$marked limited" "$@"
		run_pytest "$suite-alone" -m "$marked alone" "$@"
		set -- "$work/$suite.xml" "$work/$suite-limited.xml" "$work/$suite-alone.xml"
	else
		run_pytest "$suite" -n "$MOUNT_JOBS" -m "$all" "$@"
		set -- "$work/$suite.xml"
	fi
	if run_again "$suite"; then
		set -- "$@" --again "$work/$suite-again.xml"
	fi
	[ "$server" != rgw ] || tests/rgw/rgw.sh stop "$work/rgw"
	report_log "$suite" "$begin" junit "$@"
	report_sanitizer
	unmount_leftovers
}

# run_again SUITE: the tests that failed, if they are few.
run_again() {
	local names=()
	[ ! -e "$PAILFS_FAILED" ] || mapfile -t names < <(sort -u "$PAILFS_FAILED" | sed 's|^|tests/mount/|')
	[ ${#names[@]} -gt 0 ] && [ ${#names[@]} -le $SECOND_CHANCES ] || return 1
	unmount_leftovers
	PAILFS_FAILED='' run_pytest "$1-again" "${names[@]}"
}

rgw_start() {
	local line
	# shellcheck disable=SC2086 # the list is words
	packages_install "the tests against Ceph RGW" $PACKAGES_RGW >"$work/rgw.log" 2>&1 &&
		tests/rgw/rgw.sh start "$work/rgw" >>"$work/rgw.log" 2>&1 || return 1
	while read -r line; do
		export "${line?}"
	done <"$work/rgw/env"
}

# Reports of daemons whose stderr nobody reads any more: each a failure; the first ones are shown.
report_sanitizer() {
	local files=()
	mapfile -t files < <(find "$work/sanitizer" -type f)
	[ ${#files[@]} -gt 0 ] || return 0
	report "reports" $SECONDS 0 ${#files[@]} 0
	grep -hE '^SUMMARY|runtime error' "${files[@]}" | sort | uniq -c | indent
	head -q -n 60 "${files[@]:0:3}" | indent
	rm -f "${files[@]}"
}

unmount_leftovers() {
	local target
	findmnt -rno TARGET | { grep -F "$work/" || true; } | while read -r target; do
		fusermount3 -uz "$target" || umount -l "$target" || true
	done
}

finish() {
	local status=$?
	trap - EXIT INT TERM
	[ ! -e "$work/rgw/pids" ] || tests/rgw/rgw.sh stop "$work/rgw" || true
	unmount_leftovers
	rm -rf --one-file-system "$work"
	exit $status
}

main() {
	local name build runner server marker files
	parse_options "$@"
	clean_environment
	work=$(mktemp -d "${TMPDIR:-/var/tmp}/pailfs-tests.XXXXXX")
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$work" # tests also run daemons of other users, who report, too
	mkdir -m 1777 "$work/tmp" "$work/sanitizer"
	cp tests/lib/*.supp "$work"
	export TMPDIR=$work/tmp PYTHONDONTWRITEBYTECODE=1
	build_dir=$(readlink -m "${build_dir:-$work/build}")
	# shellcheck disable=SC2086 # the lists are words
	packages_install "building and testing" $PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_TEST || {
		echo "0 passed, 1 failed"
		exit 1
	}
	sanitizers_export "$work" "$work/sanitizer/report"

	while read -r name build runner server marker files; do
		[[ " ${wanted[*]} " == *" $name "* ]] || continue
		if [ "$runner" = mount ]; then
			build plain # for s3d
		fi
		[ "$build" = - ] || build "$build"
		if [ "${built[$build]:-yes}" = no ] || [ "${built[plain]:-yes}" = no ]; then
			report "$name" $SECONDS 0 1 0
			echo "  FAILED: not run, because a build failed"
			continue
		fi
		# shellcheck disable=SC2086 # the files are words
		"run_$runner" "$name" "$build" "$server" "$marker" $files
	done < <(grep . <<<"$SUITES")

	echo
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}

main "$@"
