#!/bin/bash
# Two peers whose packets the kernel carries, in two network namespaces; see ../kernel.md.
# Run as the first process of a virtual machine whose files are the host's, read-only.

here=$(cd "$(dirname "$0")" && pwd)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
iketcp=("$here/../../.venv/bin/python" -m iketcp)

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
cd /run || exit

wait_for() {  # a word, a log
    for _ in $(seq 600); do
        grep -q "$1" "$2" && return
        sleep 0.5
    done
    echo "no $1 in $2"
}

configure() {  # our side, the other one, their numbers
    cat <<END
[local]
identity = "@$1.example"
psk_env = "SECRET"
address = "192.0.2.$3"
[remote]
identity = "@$2.example"
$([ "$1" = west ] && echo 'address = "192.0.2.2"')
[[child]]
name = "net"
local_ts = ["10.0.$3.0/24", "fd00:$3::/64"]
remote_ts = ["10.0.$4.0/24", "fd00:$4::/64"]
[tun]
dataplane = "kernel"
addresses = ["10.0.$3.1/24", "fd00:$3::1/64"]
[control]
socket = "/run/$1.sock"
END
}

echo "upper layer protocols of TCP: $(cat /proc/sys/net/ipv4/tcp_available_ulp)"
SECRET=$(head -c 32 /dev/urandom | base64)
export SECRET
ip netns add west
ip netns add east
ip link add west-wire netns west type veth peer name east-wire netns east
for side in "west 1" "east 2"; do
    set -- $side
    ip -n "$1" addr add "192.0.2.$2/24" dev "$1-wire"
    ip -n "$1" link set lo up
    ip -n "$1" link set "$1-wire" up
done
configure west east 1 2 > west.toml
configure east west 2 1 > east.toml

ip netns exec east "${iketcp[@]}" responder -c east.toml > east.log 2>&1 &
east=$!
wait_for listening east.log
ip netns exec west "${iketcp[@]}" initiator -c west.toml > west.log 2>&1 &
west=$!
wait_for child-sa-installed west.log
wait_for child-sa-installed east.log

ip netns exec west ping -c 3 -W 5 10.0.2.1
ip netns exec west ping -c 3 -W 5 fd00:2::1
ip -n west xfrm state
ip -n west xfrm policy
"${iketcp[@]}" status --socket west.sock
kill $west
wait $west
kill $east
wait $east
cat west.log east.log
ip -n west xfrm state count
ip -n west xfrm policy count
echo o > /proc/sysrq-trigger
sleep 10
