#!/bin/sh
# Boots a systemd as PID 1 of namespaces of its own: nothing of this machine is
# touched, and everything is gone when the process that runs this is killed.
# Run by: unshare --mount systemd.sh DIR COMMAND
#   DIR      has units/, which is all that this systemd knows beside its own units
#   COMMAND  becomes /usr/local/bin/farewell
set -eu
dir=$1 command=$2
mount --make-rprivate /
mkdir -p "$dir/cgroup"
mount -t cgroup2 none "$dir/cgroup"
group="$dir/cgroup/farewell-test-$$"
mkdir "$group"
echo $$ >"$group/cgroup.procs"
exec unshare --cgroup --pid --net --ipc --uts --mount --fork --kill-child --mount-proc sh -euc '
	dir=$1 command=$2
	umount "$dir/cgroup"
	mount -t tmpfs tmpfs /sys/fs/cgroup
	mount -t cgroup2 none /sys/fs/cgroup
	mount --bind /proc/sys /proc/sys
	mount -o remount,bind,ro /proc/sys
	for own in /run /var/lib /var/tmp /etc/systemd/system /usr/local/bin; do
		mount -t tmpfs -o mode=755 tmpfs "$own"
	done
	mkdir -p /run/systemd/system /run/lock
	cp "$command" /usr/local/bin/farewell
	cp -r "$dir"/units/. /run/systemd/system/
	mount -t tmpfs -o mode=1777 tmpfs /tmp # hides what was copied
	export container=farewell-test
	exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
' sh "$dir" "$command"
