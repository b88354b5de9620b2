#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# rgw.sh start DIR | stop DIR: a Ceph cluster of one node with an S3 gateway (RGW), for the tests.
#
# One monitor, one OSD that keeps its objects in memory, one radosgw, all from Debian's packages,
# all on loopback and on free ports. Everything it writes is under DIR; /etc/ceph and
# /var/lib/ceph are not touched, and systemd is not asked. No manager daemon: only statistics
# and the autoscaler need one. One keyring holds the keys of all (radosgw does not connect
# without); the monitor takes them over when it is made.
#
# start returns when the gateway has answered, with what a client needs in DIR/env:
#   PAILFS_RGW_ENDPOINT, PAILFS_RGW_ACCESS, PAILFS_RGW_SECRET
# Buckets are also served in virtual-host style, as BUCKET.localhost:PORT.
# stop ends the processes that start began, and no other; DIR is the caller's to remove.
set -euo pipefail

readonly START_SECONDS=25
readonly STORE_BYTES=$((12 << 30))
readonly ACCESS_KEY=AKIDPAILFSRGW SECRET_KEY=pailfs/rgw+secret-key

die() {
	echo "rgw.sh: $*" >&2
	exit 1
}

# free_port: a TCP port of loopback on which nobody listens now.
free_port() {
	/usr/bin/python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

write_conf() { # write_conf DIR MON_PORT RGW_PORT
	cat >"$1/ceph.conf" <<-CONF
		[global]
		fsid = $(cat /proc/sys/kernel/random/uuid)
		mon host = [v2:127.0.0.1:$2/0]
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		keyring = $1/keyring
		run dir = $1/run
		admin socket = $1/run/\$type.asok
		log file = $1/log/\$type.log
		crash dir = $1/crash
		mon cluster log file = $1/log/cluster.log
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 4
		osd pool default pgp num = 4
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		[mon]
		mon data = $1/mon
		mon allow pool size one = true
		mon allow pool delete = true
		mon max pg per osd = 1000
		mon data avail crit = 1
		mon data avail warn = 1
		# Alone in its quorum: nothing to wait for before a change is proposed.
		paxos propose interval = 0.05
		paxos min wait = 0.01
		[osd]
		osd data = $1/osd
		osd journal = $1/osd/journal
		osd objectstore = memstore
		memstore device bytes = $STORE_BYTES
		osd max object name len = 2048
		[client]
		rgw frontends = beast endpoint=127.0.0.1:$3
		rgw dns name = localhost
		rgw data = $1/rgw
		rgw rados pool pg num min = 4
	CONF
}

make_keyring() { # make_keyring FILE
	ceph-authtool "$1" --create-keyring --gen-key -n mon. --cap mon 'allow *'
	local name
	for name in client.admin client.rgw osd.0; do
		ceph-authtool "$1" --gen-key -n "$name" --cap mon 'allow *' --cap osd 'allow *'
	done
} >/dev/null

# spawn DIR NAME COMMAND...: starts a daemon of ours; its pid and start time go to DIR/pids.
spawn() {
	local dir=$1 name=$2
	shift 2
	setsid "$@" </dev/null >"$dir/log/$name.out" 2>&1 &
	echo "$! $name" >>"$dir/pids"
	disown
}

# ours DIR PID: whether that process is one that was started with DIR's configuration.
ours() {
	[ -r "/proc/$2/cmdline" ] && tr '\0' '\n' <"/proc/$2/cmdline" 2>/dev/null |
		grep -qxF -- "$1/ceph.conf"
}

# wait_until DIR WHAT COMMAND...: asks until the command says yes; gives up, with the logs' ends,
# when a daemon has died or the time is over.
wait_until() {
	local dir=$1 what=$2 pid name
	shift 2
	until "$@" >/dev/null 2>>"$dir/log/wait.out"; do
		while read -r pid name; do
			ours "$dir" "$pid" || fail_start "$dir" "$name ended while waiting for $what"
		done <"$dir/pids"
		[ "$SECONDS" -lt "$START_SECONDS" ] ||
			fail_start "$dir" "no $what within $START_SECONDS s"
		sleep 0.1
	done
}

fail_start() { # fail_start DIR MESSAGE
	local log
	for log in "$1"/log/*; do
		echo "== ${log##*/}" && tail -n 15 "$log"
	done >&2
	stop "$1"
	die "$2"
}

gateway_answers() { # gateway_answers ENDPOINT: an anonymous ListBuckets is answered 200 by RGW
	curl -sf --noproxy '*' --max-time 5 -o /dev/null "$1/"
}

start() {
	local dir=$1 mon_port rgw_port tool
	for tool in ceph-mon ceph-osd radosgw radosgw-admin monmaptool ceph curl; do
		command -v "$tool" >/dev/null || die "no $tool: see RGW_PACKAGES in tests/lib/packages.sh"
	done
	[ ! -e "$dir/pids" ] || die "$dir is in use: rgw.sh stop $dir"
	mkdir -p "$dir"/{mon,osd,rgw,run,log,crash}
	dir=$(cd "$dir" && pwd)
	: >"$dir/pids"
	mon_port=$(free_port)
	rgw_port=$(free_port)
	write_conf "$dir" "$mon_port" "$rgw_port"
	make_keyring "$dir/keyring"
	local conf=(-c "$dir/ceph.conf") fsid osd_uuid
	osd_uuid=$(cat /proc/sys/kernel/random/uuid)
	fsid=$(sed -n 's/^fsid = //p' "$dir/ceph.conf")

	monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port/0]" "$dir/monmap" \
		>"$dir/log/mkfs.out"
	ceph-mon "${conf[@]}" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring" >>"$dir/log/mkfs.out" 2>&1
	spawn "$dir" mon ceph-mon "${conf[@]}" -i a -f
	wait_until "$dir" "monitor" ceph "${conf[@]}" --connect-timeout 2 quorum_status
	ceph "${conf[@]}" osd new "$osd_uuid" >>"$dir/log/mkfs.out"
	ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd_uuid" >>"$dir/log/mkfs.out" 2>&1
	spawn "$dir" osd ceph-osd "${conf[@]}" -i 0 -f
	wait_until "$dir" "OSD" sh -c "ceph -c '$dir/ceph.conf' osd stat | grep -q '1 up'"

	radosgw-admin "${conf[@]}" user create --uid=pailfs --display-name=pailfs \
		--access-key="$ACCESS_KEY" --secret-key="$SECRET_KEY" >>"$dir/log/mkfs.out" 2>&1 ||
		fail_start "$dir" "radosgw-admin made no user"
	spawn "$dir" rgw radosgw "${conf[@]}" -n client.rgw -f
	wait_until "$dir" "gateway" gateway_answers "http://127.0.0.1:$rgw_port"
	cat >"$dir/env" <<-ENV
		PAILFS_RGW_ENDPOINT=http://127.0.0.1:$rgw_port
		PAILFS_RGW_ACCESS=$ACCESS_KEY
		PAILFS_RGW_SECRET=$SECRET_KEY
	ENV
	cat "$dir/env"
}

stop() {
	local dir pid name
	dir=$(cd "$1" && pwd)
	[ -e "$dir/pids" ] || return 0
	# KILL, not TERM: a memory store that is asked to end first writes itself to disk.
	tac "$dir/pids" | while read -r pid name; do
		ours "$dir" "$pid" || continue
		kill -KILL "$pid"
		while ours "$dir" "$pid"; do
			sleep 0.05
		done
	done
	rm -f "$dir/pids" "$dir/env"
}

[ $# -eq 2 ] || die "usage: rgw.sh start DIR | stop DIR"
case $1 in
start) start "$2" ;;
stop) stop "$2" ;;
*) die "usage: rgw.sh start DIR | stop DIR" ;;
esac
