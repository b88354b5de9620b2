#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# selftest.sh FSX: on a local file system the tester finds nothing; in a file that was spoilt behind
# its back it finds just that. Exit code and words are looked at.
set -euo pipefail

fsx=$1
work=$(mktemp -d /var/tmp/fsx.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0

complain() {
	echo "FAILED: $*"
	tail -n 5 "$work/words" 2>/dev/null || true
	failed=1
}

lacking=
truncate -s 8192 "$work/probe"
fallocate -z -o 0 -l 4096 "$work/probe" 2>/dev/null || lacking=zero=0
fallocate -p -o 0 -l 4096 "$work/probe" 2>/dev/null || lacking+=${lacking:+,}punch=0

# play EXPECTED-EXIT-CODE WORDS ARGUMENT...
play() {
	local expected=$1 words=$2 rc=0
	shift 2
	rm -f "$work"/f*
	"$fsx" ${lacking:+--mix "$lacking"} "$@" "$work/f" >"$work/words" 2>&1 </dev/null || rc=$?
	[ "$rc" = "$expected" ] || complain "fsx $* ended with $rc, not $expected"
	grep -q -- "$words" "$work/words" || complain "fsx $* did not say: $words"
}

only=all=0,reopen=1
for seed in 1 2 3; do
	play 0 "done 1500 " --seed $seed --ops 1500 --max-size 12000000 --part 1000000
	play 0 "done 1500 " --seed $seed --ops 1500 --handles 2 --max-size 3000000 --part 300000
	play 0 "done 1000 " --seed $seed --ops 1000 --handles 2 --fresh --max-size 3000000 --part 99999
	play 1 "wrong bytes" --seed $seed --ops 500 --plant 500:flip
	play 1 "stat tells the size" --seed $seed --ops 200 --mix $only,stat=2000 --plant 50:cut
	play 1 "stat tells the size" --seed $seed --ops 200 --mix $only,stat=2000 --plant 50:grow
done
# Seen while it goes on, by whichever operation reads first.
play 1 "^read of .* bytes differ" --mix $only,read=100 --ops 2000 --part 100000 --plant 600:flip
play 1 "^a mapping of .* bytes differ" --mix $only,mapread=100 --ops 2000 --part 100000 --plant 600:flip
play 1 "^read by name of .* bytes differ" --mix $only,fsync=1,write=1 --max-size 1000000 --part 300000 \
	--ops 200 --plant 199:flip
# A driver that finds a difference, or goes away, ends it.
play 1 "the driver is gone" --ask
rm -f "$work"/f*
if "$fsx" ${lacking:+--mix "$lacking"} --ask "$work/f" <<<"object differs" >"$work/words" 2>&1; then
	complain "a driver's no is a yes"
fi
grep -q "the driver says: object differs" "$work/words" || complain "the driver's no is not told"
play 2 "no such operation: jump" --mix jump=1
exit $failed
