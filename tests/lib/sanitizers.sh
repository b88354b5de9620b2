# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# How the sanitizers run in the tests: the first report ends the process with a code of its own, so
# that a test cannot pass over it. Suppressions are for what lies in Debian's libraries alone.

SANITIZER_EXIT_CODE=86

# sanitizers_export SUPP_DIR [REPORT]: exports the options for every process that is started from
# here on. Reports go to stderr, or to REPORT.PID (a daemon's stderr is closed).
sanitizers_export() {
	local common="exitcode=$SANITIZER_EXIT_CODE:strip_path_prefix=$PWD/${2:+:log_path=$2}"
	export ASAN_OPTIONS="$common:halt_on_error=1:abort_on_error=0:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
	export LSAN_OPTIONS="exitcode=$SANITIZER_EXIT_CODE:suppressions=$1/lsan.supp:print_suppressions=0"
	export UBSAN_OPTIONS="$common:halt_on_error=1:print_stacktrace=1"
	export TSAN_OPTIONS="$common:halt_on_error=1:second_deadlock_stack=1:suppressions=$1/tsan.supp:print_suppressions=0"
}
