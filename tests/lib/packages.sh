# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What pailfs needs of Debian 12, by purpose, and how it is installed. Sourced by quickstart.sh,
# tests/run.sh and tests/bench/run.sh. packages_install asks apt only for what is missing, so that
# a machine that has everything needs neither root nor network.
#
# shellcheck disable=SC2034 # the lists are for those who source this

# To build the daemon, its man pages and the bundled S3 server.
PACKAGES_BUILD="build-essential meson ninja-build pkgconf libfuse3-dev libcurl4-openssl-dev
	libssl-dev libxml2-dev libisal-dev uthash-dev libmicrohttpd-dev libjson-c-dev"
# To mount, and to load an object into a server by hand.
PACKAGES_RUN="fuse3 ca-certificates curl"
# For the tests, the second server apart.
PACKAGES_TEST="clang-format shellcheck libcmocka-dev python3 python3-pytest python3-pytest-xdist
	python3-boto3 openssl fio procps util-linux attr rsync zip unzip git vim-tiny s3fs"
# The second server: a Ceph node with its S3 gateway.
PACKAGES_RGW="ceph-mon ceph-osd ceph-common radosgw"
# The peers that tests/bench compares with, and its tools. awscli takes part where it is installed.
PACKAGES_BENCH="s3fs rclone fio curl openssl python3 python3-boto3 python3-matplotlib"

# Prints those of the named packages that are not installed.
packages_missing() {
	local package status
	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
		[ "$status" = installed ] || echo "$package"
	done
}

# packages_install PURPOSE PACKAGE...: installs what is missing; says what, and why if it cannot.
packages_install() {
	local purpose=$1 missing
	shift
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		echo "$purpose needs the Debian packages ${missing[*]}, and there is no apt-get here" >&2
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "$purpose needs packages that only root can install. Either run this with sudo, or:" >&2
		echo "  sudo apt-get install ${missing[*]}" >&2
		return 1
	fi
	echo "Installing for $purpose: ${missing[*]}"
	packages_apt update && packages_apt install -y --no-install-recommends "${missing[@]}"
}

# packages_apt ARGUMENT...: apt-get, silent unless it fails, waiting for another apt to end.
packages_apt() {
	local output
	output=$(DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null 2>&1) && return
	echo "$output" | tail -n 20 >&2
	echo "apt-get $1 failed (its last words are above)" >&2
	return 1
}
