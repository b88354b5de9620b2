#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh Debian 12 to a mounted bucket, in one command:
#   sudo ./quickstart.sh                          tries pailfs on a bucket of the bundled S3 server
#   sudo ./quickstart.sh BUCKET DIR [OPTION...]   installs it and mounts your bucket at DIR
#
# Both install the Debian packages that are missing (that is what root is needed for) and build.
# The first leaves nothing behind but the packages and build/; the second also installs pailfs into
# /usr/local and mounts as the user who called sudo, with the credentials of that user: the AWS_*
# variables that sudo let through, or ~/.aws. OPTIONs go to pailfs: -o endpoint=URL, -o ro ...
set -euo pipefail
export LC_ALL=C

called_from=$PWD
cd "$(dirname "$(readlink -f "$0")")"
repo=$PWD
. tests/lib/packages.sh

readonly DEMO_BYTES=$((1 << 30))
readonly DEMO_FREE_BYTES=$((9 * DEMO_BYTES / 2))
readonly DEMO_KEY=AKIDS3D DEMO_SECRET=s3d-secret-key # s3d's own, for loopback
readonly READY_SECONDS=20

say() { printf '\n== %s\n' "$*"; }

die() {
	printf 'quickstart.sh: %s\n' "$1" >&2
	shift
	[ $# -eq 0 ] || printf '  %s\n' "$@" >&2
	exit 1
}

usage() { sed -n '4,12s/^# \{0,1\}//p' "$repo/quickstart.sh"; }

# run_as USER COMMAND...: as that user, with the home of that user and our other variables.
run_as() {
	local user=$1 home
	shift
	if [ "$user" = "$(id -un)" ]; then
		"$@"
		return
	fi
	home=$(getent passwd "$user" | cut -d: -f6)
	runuser -u "$user" -- env HOME="$home" USER="$user" LOGNAME="$user" "$@"
}

install_packages() {
	say "Packages"
	# shellcheck disable=SC2086 # the lists are words
	packages_install "building and mounting" $PACKAGES_BUILD $PACKAGES_RUN || exit 1
	echo "all there"
	[ -e /dev/fuse ] || die "there is no /dev/fuse, so nothing can be mounted here" \
		"On a machine of your own: modprobe fuse." \
		"In a container: start it with --device /dev/fuse --cap-add SYS_ADMIN."
	# Every booted Debian has it; a bare chroot or container may not, and a user's unmount reads it.
	if [ ! -e /etc/mtab ] && [ "$(id -u)" -eq 0 ]; then
		ln -s ../proc/self/mounts /etc/mtab
		echo "made /etc/mtab, which fusermount3 -u needs"
	fi
}

# Sets $build. The tree's owner builds, so that nothing of root's is left in a user's clone.
build_release() {
	local owner setup=()
	owner=$(stat -c %U "$repo")
	[ "$(id -u)" -eq 0 ] && [ "$owner" != UNKNOWN ] || owner=$(id -un)
	build=$repo/build/release
	# shellcheck disable=SC2016 # for the shell inside
	if ! run_as "$owner" sh -c 'mkdir -p "$1" && [ -w "$1" ]' sh "$build" 2>/dev/null; then
		build=$(run_as "$owner" mktemp -d /var/tmp/pailfs-build.XXXXXX)
	fi
	say "Build in $build"
	[ ! -e "$build/build.ninja" ] || setup=(--reconfigure)
	if ! run_as "$owner" meson setup "${setup[@]}" --buildtype=release "$build" "$repo" \
		>"$build/setup.log" 2>&1; then
		tail -n 20 "$build/setup.log" >&2
		die "meson could not set up the build: see above and $build/setup.log"
	fi
	# On a terminal one line that counts; otherwise only what went wrong.
	if [ -t 1 ]; then
		run_as "$owner" ninja -C "$build"
	else
		run_as "$owner" ninja -C "$build" --quiet
	fi
}

# ---- without arguments: the bundled server

demo_dir='' server_pid='' mount_pid=''

demo_end() {
	local status=$?
	trap - EXIT INT TERM
	demo_unmount || true
	[ -z "$server_pid" ] || { kill "$server_pid" && wait "$server_pid"; } 2>/dev/null || true
	[ -z "$demo_dir" ] || rm -rf --one-file-system "$demo_dir"
	[[ $build == "$repo"/* ]] || rm -rf --one-file-system "$build"
	exit "$status"
}

# Mounts the bucket of the server at ENDPOINT.
demo_mount() { # demo_mount ENDPOINT
	env -u http_proxy -u HTTP_PROXY AWS_ACCESS_KEY_ID=$DEMO_KEY \
		AWS_SECRET_ACCESS_KEY=$DEMO_SECRET "$build/src/pailfs" demo "$demo_dir/mnt" -f \
		-o "endpoint=$1,region=us-east-1,ready_fd=3" \
		3<>"$demo_dir/mount.ready" >"$demo_dir/mount.log" 2>&1 &
	mount_pid=$!
	await_line "$demo_dir/mount.ready" $mount_pid "$demo_dir/mount.log" >/dev/null
}

# Ends the mount, if there is one, and waits for the daemon.
demo_unmount() {
	local pid=$mount_pid
	[ -n "$pid" ] || return 0
	mount_pid=''
	umount "$demo_dir/mnt" 2>/dev/null || fusermount3 -qzu "$demo_dir/mnt" || true
	wait "$pid"
}

# same_sum FILE SUM: dies unless the file has that sum.
same_sum() {
	local sum
	sum=$(sha256sum <"$1" | cut -d' ' -f1)
	echo "sha256 wanted $2"
	echo "sha256 read   $sum"
	[ "$sum" = "$2" ] || die "the sums differ: this must not happen, please report it"
}

# await_line FIFO PID LOG: the line that this process of ours writes when it is ready.
await_line() {
	local line end=$((SECONDS + READY_SECONDS))
	until read -r -t 0.2 line <>"$1"; do
		if ! kill -0 "$2" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
			cat "$3" >&2
			die "this did not start; its own words, if any, are above: $(basename "$3" .log)"
		fi
	done
	echo "$line"
}

# timed WHAT COMMAND...: runs it, and prints how fast that moved DEMO_BYTES.
timed() {
	local what=$1 begin=${EPOCHREALTIME/./} end
	shift
	"$@"
	end=${EPOCHREALTIME/./}
	printf '%-50s %6d MB/s\n' "$what" $((DEMO_BYTES / (end - begin)))
}

read_all() { cat "$1" >/dev/null; }

demo_space() {
	local base=${TMPDIR:-/var/tmp} free
	free=$(df --output=avail -B1 "$base" | tail -n 1)
	[ "$free" -ge "$DEMO_FREE_BYTES" ] || die "$base has less than $((DEMO_FREE_BYTES >> 20)) MiB free" \
		"TMPDIR names another directory: sudo TMPDIR=/big/disk ./quickstart.sh"
	demo_dir=$(mktemp -d "$base/pailfs-demo.XXXXXX")
	mkdir "$demo_dir/store" "$demo_dir/mnt"
	mkfifo "$demo_dir/server.ready" "$demo_dir/mount.ready"
}

demo_upload() { # demo_upload ENDPOINT SUM
	curl -sS --fail-with-body --noproxy '*' --aws-sigv4 aws:amz:us-east-1:s3 \
		--user "$DEMO_KEY:$DEMO_SECRET" -H "x-amz-content-sha256: $2" \
		-T "$demo_dir/original" "$1/demo/dir/random.bin"
}

demo() {
	local port endpoint sum
	trap demo_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	demo_space

	say "An S3 server on loopback, with a bucket and an object of 1 GiB"
	"$build/tests/s3d/s3d" --dir "$demo_dir/store" --make-bucket demo --ready-fd 3 \
		3<>"$demo_dir/server.ready" >"$demo_dir/server.log" 2>&1 &
	server_pid=$!
	port=$(await_line "$demo_dir/server.ready" $server_pid "$demo_dir/server.log")
	endpoint=http://127.0.0.1:$port
	head -c "$DEMO_BYTES" /dev/urandom >"$demo_dir/original"
	sum=$(sha256sum <"$demo_dir/original" | cut -d' ' -f1)
	timed "PUT by curl, straight to the server:" demo_upload "$endpoint" "$sum"

	say "Mount"
	echo "pailfs demo $demo_dir/mnt -o endpoint=$endpoint,region=us-east-1"
	demo_mount "$endpoint"
	ls -lR "$demo_dir/mnt"

	say "Read it through the mount"
	timed "read, first time (from the server):" read_all "$demo_dir/mnt/dir/random.bin"
	timed "cp to $(dirname "$demo_dir") (from the cache, to the disk):" \
		cp "$demo_dir/mnt/dir/random.bin" "$demo_dir/copy"
	same_sum "$demo_dir/copy" "$sum"

	say "Write through the mount, and read that back through a second, fresh mount"
	timed "cp into the mount, until it is stored:" \
		cp "$demo_dir/original" "$demo_dir/mnt/dir/written.bin"
	demo_unmount
	demo_mount "$endpoint"
	timed "cp out of the fresh mount, to the disk:" \
		cp "$demo_dir/mnt/dir/written.bin" "$demo_dir/copy"
	same_sum "$demo_dir/copy" "$sum"

	say "It works. Going on from here"
	cat <<-TEXT
		  sudo ./quickstart.sh BUCKET DIR                    mount your own bucket, as yourself
		  sudo ./quickstart.sh BUCKET DIR -o endpoint=URL    one on MinIO, Ceph, R2 ...
		  man ./man/pailfs.1                                 options, credentials, fstab
		  sudo ./tests/run.sh                                all tests
	TEXT
}

# ---- with BUCKET DIR: the user's own

# has_credentials USER OPTION...: whether pailfs, run as that user, would find any.
has_credentials() {
	local user=$1 home
	shift
	[ -z "${AWS_ACCESS_KEY_ID:-}${AWS_SHARED_CREDENTIALS_FILE:-}${AWS_CONFIG_FILE:-}" ] || return 0
	[[ " $* " != *passwd_file=* && " $* " != *no_sign_request* ]] || return 0
	home=$(getent passwd "$user" | cut -d: -f6)
	run_as "$user" test -r "$home/.aws/credentials" || run_as "$user" test -r "$home/.aws/config"
}

check_credentials() { # check_credentials USER OPTION...
	local user=$1 keep=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,AWS_SESSION_TOKEN,AWS_REGION
	if ! has_credentials "$@"; then
		die "no credentials: no AWS_ACCESS_KEY_ID here, and $user has no ~/.aws" \
			"sudo drops AWS_* variables. If they are set in your shell, let them through:" \
			"  sudo --preserve-env=$keep ./quickstart.sh BUCKET DIR" \
			"Or write them to ~/.aws/credentials (as 'aws configure' does)." \
			"For a public bucket: ./quickstart.sh BUCKET DIR -o no_sign_request"
	fi
	if [ -n "${SUDO_USER:-}" ] && [ -z "${AWS_ACCESS_KEY_ID:-}${AWS_PROFILE:-}" ]; then
		echo "Using ~/.aws of $user, default profile. (sudo drops AWS_* variables such as AWS_PROFILE;"
		echo "sudo --preserve-env=AWS_PROFILE,... ./quickstart.sh keeps the ones you name.)"
	fi
}

check_directory() { # check_directory USER DIR
	local owner
	# The user looks: what is mounted there now may be closed to root.
	owner=$(run_as "$1" stat -c %U "$2" 2>/dev/null) ||
		run_as "$1" findmnt "$2" >/dev/null || die "$2 does not exist: mkdir $2"
	[ -z "$owner" ] || run_as "$1" test -d "$2" || die "$2 is not a directory"
	[ -z "$owner" ] || [ "$1" = root ] || [ "$owner" = "$1" ] ||
		die "$2 belongs to $owner, so $1 must not mount there" "mkdir ~/bucket, and use that"
}

mount_bucket() { # mount_bucket BUCKET DIR OPTION...
	local bucket=$1 dir user=${SUDO_USER:-$(id -un)}
	cd "$called_from"
	dir=$(realpath -ms "$2")
	shift 2
	# What is wrong with the command itself is said at once, not after the build.
	[ "$(id -u)" -eq 0 ] || die "only root can install into /usr/local: sudo ./quickstart.sh ..."
	check_directory "$user" "$dir"
	check_credentials "$user" "$@"

	install_packages
	run_as "$user" test -r /dev/fuse -a -w /dev/fuse ||
		die "$user must not open /dev/fuse" "Debian's own mode for it is 0666: chmod 666 /dev/fuse"
	build_release
	say "Install into /usr/local"
	meson install -C "$build" --no-rebuild --quiet
	say "Mount $bucket at $dir as $user"
	run_as "$user" /usr/local/bin/pailfs "$bucket" "$dir" "$@"
	cat <<-TEXT
		Mounted. To look:         ls -l $dir
		To unmount:               fusermount3 -u $dir
		Next time, without this:  pailfs $bucket $dir $*
		Options, fstab:           man pailfs
	TEXT
}

case ${1:-} in
-h | --help)
	usage
	exit 0
	;;
esac
if [ $# -eq 1 ] || [[ ${1:-} == -* ]]; then
	usage >&2
	exit 2
fi
if [ $# -eq 0 ]; then
	install_packages
	build_release
	demo
else
	mount_bucket "$@"
fi
