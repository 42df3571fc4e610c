#!/usr/bin/env bash
# The first process of a real node, in namespaces of its own; testenv/node/node.sh starts it and says what the variables are.
set -uo pipefail
export PATH=/usr/sbin:/sbin:/usr/bin:/bin

log=$DIR/log
began=$(date +%s%N)
say() { printf '%6d ms %s\n' $((($(date +%s%N) - began) / 1000000)) "$*"; }
fail() { say "$*"; echo "$*" > "$DIR/failed.partial"; mv "$DIR/failed.partial" "$DIR/failed"; }
await() { # await SECONDS WHAT COMMAND...
  local limit=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $limit ] || { fail "$what: waited in vain"; sleep infinity; }
    sleep 0.05
  done
  say "$what"
}

# Files: ours are below DIR, the machine's stay as they are.
mount --make-rprivate / && mount --make-rshared /
mount -t proc proc /proc
hostname "$NAME"
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$controller" && mount -t cgroup -o $controller cgroup "/sys/fs/cgroup/$controller" || fail "no cgroup v1 hierarchy for $controller"
done
mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mkdir -p /run/cdi /run/node "$DIR/cni" "$DIR/gpu/bin" "$DIR/store"
for folder in /var/lib/kubelet /var/lib/containerd /var/log/pods /var/log/containers; do
  mkdir -p "$DIR/store$folder" $folder && mount --bind "$DIR/store$folder" $folder
done
# Settings of the whole kernel that kubelet makes: it makes them in plain files here.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  file=/run/node/${setting%=*}; mkdir -p "$(dirname $file)"; echo "${setting#*=}" > "$file"; mount --bind "$file" "/proc/sys/${setting%=*}"
done
if [ -e "$DIR/host.paths" ]; then
  while read -r path; do mount --bind "$DIR/host$path" "$path" || fail "nothing can be laid over $path"; done < "$DIR/host.paths"
fi

# Network: a cable to the machine, a bridge for pods, no route to anywhere else.
await 20 "network cable" test -e "/sys/class/net/$LINK"
ip link set lo up && ip link set "$LINK" name eth0 && ip address add "$INSIDE/30" dev eth0 && ip link set eth0 up || fail "no network in the node"
ip route add default via "$OUTSIDE"
echo 1 > /proc/sys/net/ipv4/ip_forward
# Nobody answers there: names are not found at once.
echo "nameserver 127.0.0.1" > /run/node/resolv.conf
mount --bind /run/node/resolv.conf /etc/resolv.conf
cat > "$DIR/cni/10-node.conflist" <<END
{"cniVersion": "1.0.0", "name": "node", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true, "isDefaultGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "198.19.0.0/24"}]], "dataDir": "/run/cni"}}]}
END

# What a container with a GPU finds: a folder of stand-in tools, and on the PCI bus what the node has there.
mounts="{\"hostPath\": \"$DIR/gpu\", \"containerPath\": \"/opt/gpu\", \"options\": [\"ro\", \"rbind\"]}"
bus=/sys/bus/pci/devices
[ ! -d "$DIR/host$bus" ] || mounts="$mounts, {\"hostPath\": \"$DIR/host$bus\", \"containerPath\": \"$bus\", \"options\": [\"ro\", \"rbind\"]}"
count=${GPUS#*=}
# Device nodes that come with a GPU, where DIR/device-nodes names some: lines of its number, or * for every container, and a path. Each
# is /dev/null by another name.
device_nodes() {
  [ ! -e "$DIR/device-nodes" ] || awk -v gpu="$1" '$1 == gpu { printf "%s{\"path\": \"%s\", \"type\": \"c\", \"major\": 1, \"minor\": 3, \"fileMode\": 438}", comma, $2; comma = ", " }' "$DIR/device-nodes"
}
devices=$(for number in $(seq 0 $((${count:-0} - 1))); do
  echo "{\"name\": \"gpu-$number\", \"containerEdits\": {\"env\": [\"SEATRIAL_GPU_$number=simulated\"], \"deviceNodes\": [$(device_nodes "$number")]}}"
done | paste -sd,)
cat > /run/cdi/gpu.json <<END
{"cdiVersion": "0.6.0", "kind": "seatrial.dev/gpu", "devices": [$devices],
 "containerEdits": {"mounts": [$mounts]}}
END

cat > /run/node/containerd.toml <<END
version = 3
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_cdi = true
  cdi_spec_dirs = ["/run/cdi"]
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["$(dirname "$(readlink -f "$SEATRIAL_BIN_CNI_BRIDGE")")"]
  conf_dir = "$DIR/cni"
  use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "$SEATRIAL_BIN_RUNC"
  SystemdCgroup = false
END
everyone=$(device_nodes '*')
if [ -n "$everyone" ]; then
  "$SEATRIAL_BIN_CTR" oci spec | sed "s|\"linux\": {|&\"devices\": [$everyone],|" > /run/node/spec.json
  sed -i '/^  runtime_type = /a\  base_runtime_spec = "/run/node/spec.json"' /run/node/containerd.toml
fi
PATH=$(dirname "$SEATRIAL_BIN_CONTAINERD"):$PATH "$SEATRIAL_BIN_CONTAINERD" -c /run/node/containerd.toml >"$log/containerd.log" 2>&1 &
client() { "$SEATRIAL_BIN_CTR" -a /run/containerd/containerd.sock -n k8s.io "$@"; }
await 30 "containerd answers" client version
for image in "$DIR"/images/*.tar; do
  client image import "$image" >>"$log/images.log" 2>&1 && say "$(basename "$image") imported" || fail "import of $image; see $log/images.log"
done

cat > /run/node/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $INSIDE
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $DIR/pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
volumePluginDir: /var/lib/kubelet/volumeplugins
resolvConf: /run/node/resolv.conf
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 256Mi, imagefs.available: 256Mi}
nodeStatusUpdateFrequency: 1s
END
[ ! -e "$DIR/kubelet.yaml" ] || cat "$DIR/kubelet.yaml" >> /run/node/kubelet.yaml
labels=seatrial.dev/simulated=true
[ ! -s "$DIR/labels" ] || labels=$labels,$(cat "$DIR/labels")
"$SEATRIAL_BIN_KUBELET" --config /run/node/kubelet.yaml --kubeconfig "$DIR/kubeconfig" --cert-dir "$DIR/pki" --hostname-override "$NAME" \
  --node-ip "$INSIDE" --node-labels "$labels" -v=2 >"$log/kubelet.log" 2>&1 &
kubelet=$!
asked() { "$SEATRIAL_BIN_KUBECTL" --kubeconfig "$DIR/kubeconfig" get node "$NAME" -o "jsonpath=$1"; }
ready() { kill -0 $kubelet || { fail "kubelet has ended; see $log/kubelet.log"; sleep infinity; }; [ "$(asked '{.status.conditions[?(@.type=="Ready")].status}')" = True ]; }
await 90 "node Ready" ready
if [ -n "$GPUS" ]; then
  resource=${GPUS%=*}
  "$SEATRIAL_BIN_GPU_DEVICE_PLUGIN" "$resource" "$count" seatrial.dev/gpu >"$log/gpu-device-plugin.log" 2>&1 &
  advertised() { [ "$(asked "{.status.allocatable.${resource/./\\.}}")" = "$count" ]; }
  await 30 "$GPUS advertised" advertised
fi
[ -e "$DIR/failed" ] || touch "$DIR/ready"
# Orphans of containers come to us.
while :; do sleep infinity & wait; done
