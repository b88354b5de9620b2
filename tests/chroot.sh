#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo tests/chroot.sh [--tests | --bucket] [DIR]: what a stranger meets, by hand.
#
# A bare Debian 12 from debootstrap in DIR (/var/tmp/pailfs-chroot; made once, then reset to how it
# was), nothing installed but git and sudo; the committed state of this repository is cloned into
# it by an ordinary user, who runs sudo ./quickstart.sh there.
#   --tests   then sudo ./tests/run.sh
#   --bucket  then sudo ./quickstart.sh BUCKET DIR against the bundled server
set -euo pipefail

repo=$(readlink -f "$(dirname "$0")/..")
mode=
case ${1:-} in
--tests | --bucket)
	mode=$1
	shift
	;;
esac
root=$(readlink -m "${1:-/var/tmp/pailfs-chroot}")
pristine=$root.pristine
mirror=${MIRROR:-http://deb.debian.org/debian}

[ "$(id -u)" -eq 0 ] || { echo "chroot.sh: debootstrap and mount need root" >&2; exit 1; }
[ -x /usr/sbin/debootstrap ] || apt-get install -y debootstrap

unbind() {
	local status=$? target
	trap - EXIT
	# From the inside out: what is mounted within goes first.
	findmnt -rno TARGET | { grep -E "^$root(/|\$)" || true; } | tac | while read -r target; do
		umount "$target" || umount -l "$target"
	done
	exit $status
}

if [ ! -d "$pristine" ]; then
	debootstrap --variant=minbase --include=ca-certificates,git,sudo bookworm "$pristine.new" "$mirror"
	mv "$pristine.new" "$pristine"
fi
! findmnt -rno TARGET | grep -qE "^$root(/|\$)" || { echo "chroot.sh: $root is in use" >&2; exit 1; }
rm -rf --one-file-system "$root"
cp -a "$pristine" "$root"
trap unbind EXIT
# A mount point, so that programs inside can make mount namespaces of their own.
mount --bind "$root" "$root"
mount --make-private "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
# With the mode that Debian's udev gives it, whatever it is on this machine.
mknod -m 666 "$root/fuse" c 10 229
mount --bind "$root/fuse" "$root/dev/fuse"
mount -t sysfs sysfs "$root/sys"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
echo "127.0.0.1 localhost $(uname -n)" >"$root/etc/hosts"
# Security and point updates, as any installed Debian has them.
cat >"$root/etc/apt/sources.list" <<LIST
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb $mirror-security bookworm-security main
LIST
git clone -q --bare "$repo" "$root/srv/pailfs.git"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$1" "${@:2}"; }
as_user() { inside /home/user runuser -u user -- bash -ec "cd; $1"; }

inside /root useradd -m -s /bin/bash user
inside /root chown -R user: /srv/pailfs.git
echo 'user ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/user"
as_user 'git clone -q /srv/pailfs.git'
as_user 'cd pailfs && sudo ./quickstart.sh'
case $mode in
--tests) as_user 'cd pailfs && sudo ./tests/run.sh' ;;
--bucket)
	# shellcheck disable=SC2016 # for the shell inside
	as_user 'mkdir -p store bucket .aws
		mkfifo ready
		pailfs/build/release/tests/s3d/s3d --dir store --make-bucket mine --ready-fd 3 3<>ready &
		trap "kill $!" EXIT
		read -r port <>ready
		printf "[default]\naws_access_key_id=AKIDS3D\naws_secret_access_key=s3d-secret-key\n" \
			>.aws/credentials
		chmod 600 .aws/credentials
		cd pailfs
		sudo ./quickstart.sh mine ../bucket -o "endpoint=http://127.0.0.1:$port,region=us-east-1"
		findmnt ~/bucket && ls -la ~/bucket && fusermount3 -u ~/bucket'
	;;
esac
