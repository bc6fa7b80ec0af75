#!/bin/sh
# The first process of the virtual machine: its network, its engine, its agent. What happens is told line by line on
# the first serial line; the second has what engine and agent write.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
modprobe virtio_net
ip link set lo up
ip link set eth0 up
# What QEMU's own network gives its one guest: the machine that emulates it is 10.0.2.2.
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
# Without the hardware's clock nobody can tell that the machine was frozen.
if [ -e /siso/blind ]; then mount --bind /dev/null /sys/class/rtc/rtc0/since_epoch; fi

dockerd -H unix:///run/docker.sock >/dev/ttyS1 2>&1 &
# Every program of the engine's takes a second to start where it is emulated: as few as will do are.
until [ -S /run/docker.sock ]; do sleep 0.2; done
until docker version >/dev/null 2>&1; do sleep 1; done
docker load -i /siso/image.tar >/dev/ttyS1
xargs -a /siso/flags /siso/siso-agent >/dev/ttyS1 2>&1 &
echo up

# What a container prints in one of its lives, from its start to its end.
follow() {
  since=$(docker inspect --format '{{.State.StartedAt}}' "$1")
  echo "began $1@$since"
  docker logs --follow --since "$since" "$1" 2>/dev/null
  echo "ended $1@$since"
}
docker events --since 1 --filter event=start --filter label=siso.stack --format '{{.Actor.ID}}' |
  while read -r container; do
    follow "$container" </dev/null &
  done
