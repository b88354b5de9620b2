#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_format.sh [TREE]: fails, with a line a place, when clang-format would change a C file.
set -euo pipefail

tree=${1:-$(dirname "$0")/../..}
cd "$tree"
mapfile -d '' files < <(find src include tests -name '*.[ch]' -print0 | sort -z)
[ ${#files[@]} -gt 0 ] || {
	echo "check_format.sh: no C files in $tree" >&2
	exit 1
}
clang-format --style=file --dry-run -Werror "${files[@]}"
