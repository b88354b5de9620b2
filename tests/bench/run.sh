#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo ./tests/bench/run.sh [OPTION...]: installs the peers, builds a release, and compares.
# OPTIONs are those of bench.py (--help). With PAILFS_BIN and PAILFS_S3D set it builds nothing.
set -euo pipefail

cd "$(dirname "$(readlink -f "$0")")/../.."
. tests/lib/packages.sh

# shellcheck disable=SC2086 # the lists are words
packages_install "the benchmark" $PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_BENCH
if [ -z "${PAILFS_BIN:-}" ] || [ -z "${PAILFS_S3D:-}" ]; then
	build=$(mktemp -d "${TMPDIR:-/var/tmp}/pailfs-bench-build.XXXXXX")
	trap 'rm -rf --one-file-system "$build"' EXIT
	if ! { meson setup --buildtype=release "$build" . && ninja -C "$build"; } >"$build/log" 2>&1; then
		tail -n 30 "$build/log" >&2
		exit 1
	fi
	export PAILFS_BIN=$build/src/pailfs PAILFS_S3D=$build/tests/s3d/s3d
	export PAILFS_FUSENULL=$build/tests/bench/fusenull
fi
/usr/bin/python3 tests/bench/bench.py "$@"
