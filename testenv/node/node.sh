#!/usr/bin/env bash
# Runs a real Kubernetes node beside a control plane of `seatrial sim up`, until its stdin ends: kubelet, containerd and runc in
# mount, network, process, host name, IPC and cgroup namespaces of their own. Needs root and cgroup v1. Simulated: it says so by label.
#
#   testenv/node/node.sh DIR NAME PLANE [RESOURCE=COUNT]
#
# DIR is the node's directory, removed at the end. What is there beforehand:
#   images/*.tar   images to import (testenv/node/image.sh makes them)      labels   node labels, a=b,c=d
#   gpu/           what a container that has GPUs finds in /opt/gpu         host/    a tree laid over the node's own files
#   host.paths     paths of that tree, one a line                          kubelet.yaml   more fields of kubelet's configuration
#   device-nodes   device nodes that come with a GPU, as init.sh has it
# PLANE is the directory of the control plane (`sim up --dir PLANE`). With nvidia.com/gpu=8, a device plugin advertises 8 GPUs.
# DIR/ready appears when the node is Ready, DIR/failed when it will not be; DIR/log holds what its programs say.
# In the end nothing is left, also when this script is killed: no process, mount, link, namespace or directory; after a SIGKILL of
# this script itself empty cgroup folders stay, which the next one removes.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(readlink -f "$1") name=$2 plane=$3 gpus=${4:-}
log=$dir/log
mkdir -p "$log" "$dir/pki"
exec 2>"$log/node.log"
fail() { echo "$*" >&2; echo "$*" > "$dir/failed.partial"; mv "$dir/failed.partial" "$dir/failed"; }

# Folders of cgroup v1 in which we are, one for each hierarchy.
cgroups() {
  local _ controllers path folder
  while IFS=: read -r _ controllers path; do
    folder=/sys/fs/cgroup/${controllers#name=}
    if [ -n "$controllers" ] && [ -d "$folder" ]; then echo "$folder${path%/}"; fi
  done < /proc/self/cgroup
}
# Removes the cgroups of a node that has ended; the last tasks take a moment to go.
drop_cgroups() {
  local parent
  for parent in $(cgroups); do
    for _ in $(seq 100); do
      [ -d "$parent/$1" ] || break
      find "$parent/$1" -depth -type d -exec rmdir {} + 2>/dev/null
      [ ! -d "$parent/$1" ] || sleep 0.05
    done
  done
}
for left in $(cgroups | sed -n 1p)/seatrial-node-*; do
  [ ! -d "$left" ] || kill -0 "${left##*-}" 2>/dev/null || drop_cgroups "$(basename "$left")"
done

relay='' first='' link=''
end() {
  trap '' TERM INT
  # The first process of the process namespace takes all others, the mounts and the network with it.
  [ -z "$first" ] || { kill -KILL "$first"; wait "$first"; } 2>/dev/null
  [ -z "$relay" ] || { kill "$relay"; wait "$relay"; } 2>/dev/null
  # Gone with the network namespace, but not at once, and not if there never was one.
  [ -z "$link" ] || ip link delete "$link" 2>/dev/null
  drop_cgroups "seatrial-node-$$"
  rm -rf "$dir"
}
trap 'end; exit 143' TERM INT

# A cable of its own, in the range for benchmarks (RFC 2544): the machine has one end, the node the other. Each node has other
# addresses than the one before: an API server remembers connections to a kubelet.
for try in $(seq 0 99); do
  number=$((($$ + try) % 16384))
  if ip link add "seatrial$number" type veth peer name "seatrial${number}n" 2>>"$log/node.log"; then link=seatrial$number; break; fi
done
[ -n "$link" ] || fail "no network cable for the node; see $log/node.log"
net=198.18.$((number / 64)) first_address=$((number % 64 * 4))
outside=$net.$((first_address + 1)) inside=$net.$((first_address + 2))
echo "$link $outside" > "$dir/link"
ip address add "$outside/30" dev "$link" && ip link set "$link" up || fail "no address for the node's cable"

# The API server listens on 127.0.0.1 of the machine, which is another one than the node's.
pki=$plane/kwok/clusters/sim/pki
server=$(sed -n 's/^ *server: *//p' "$plane/kubeconfig" | sed -n 1p)
setpriv --pdeathsig KILL "$SEATRIAL_BIN_TCP_RELAY" "$outside:6443" "${server#https://}" >"$log/relay.log" 2>&1 </dev/null &
relay=$!
{
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/pki/kubelet.key" -subj "/O=system:nodes/CN=system:node:$name" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAserial "$dir/pki/serial" -CAcreateserial -days 2 -out "$dir/pki/kubelet.crt"
} 2>>"$log/node.log" || fail "no certificate for the node"
cp "$pki/ca.crt" "$dir/pki/ca.crt"
cat > "$dir/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$outside:6443", tls-server-name: localhost, certificate-authority: $dir/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $dir/pki/kubelet.crt, client-key: $dir/pki/kubelet.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END

if [ ! -e "$dir/failed" ]; then
  (
    for parent in $(cgroups); do
      mkdir -p "$parent/seatrial-node-$$"
      # A new cpuset may use nothing until it is told what.
      for file in cpuset.cpus cpuset.mems; do [ ! -e "$parent/$file" ] || cat "$parent/$file" > "$parent/seatrial-node-$$/$file"; done
      echo $BASHPID > "$parent/seatrial-node-$$/cgroup.procs"
    done
    export DIR=$dir NAME=$name GPUS=$gpus OUTSIDE=$outside INSIDE=$inside LINK=${link}n
    exec setpriv --pdeathsig KILL unshare --mount --net --pid --fork --uts --ipc --cgroup --kill-child=KILL bash "$here/init.sh"
  ) >"$log/init.log" 2>&1 </dev/null &
  first=$!
  # The network namespace is there when it is another one than ours.
  for _ in $(seq 200); do
    [ "$(readlink /proc/$first/ns/net 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ] || break
    sleep 0.02
  done
  ip link set "${link}n" netns "$first" || fail "the node's cable cannot be laid into it"
  kill -0 "$relay" 2>/dev/null || fail "the relay to the API server has ended: $(cat "$log/relay.log")"
fi
# Nothing more to do until nobody holds the other end of stdin.
cat >/dev/null
end
