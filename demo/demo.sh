#!/usr/bin/env bash
# The main job on a simulated GPU cluster of this machine, and three things that must be caught. `make demo` calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seatrial=${CARGO_TARGET_DIR:-$PWD/target}/debug/seatrial
work=$(mktemp -d "${TMPDIR:-/tmp}/seatrial-demo.XXXXXX")
registry_pid=

tear_down() {
  local code=$?
  trap - EXIT
  "$seatrial" -q sim down --name demo --dir "$work/sim" || true
  if [ -n "$registry_pid" ]; then kill "$registry_pid" 2>/dev/null || true; wait "$registry_pid" 2>/dev/null || true; fi
  rm -rf "$work"
  exit $code
}
trap tear_down EXIT
trap 'exit 130' INT TERM

title() { printf '\n\033[1m== %s\033[0m\n\n' "$1" | if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }

# Runs a command that must end with this exit code, and says so.
must_exit() {
  local wanted=$1 code=0; shift
  "$@" || code=$?
  if [ "$code" != "$wanted" ]; then
    echo "demo: exit code $code where $wanted was expected: $*" >&2
    exit 1
  fi
  echo "   → exit code $code, as it must be"
}

title "A simulated cluster (4 nodes × 8 GPUs, two by device plugin, two by DRA) and a registry"
"$seatrial" sim up --name demo --dir "$work/sim" >/dev/null
export KUBECONFIG=$work/sim/kubeconfig
"$SEATRIAL_BIN_OCI_REGISTRY" -address-file "$work/registry" 2>/dev/null &
registry_pid=$!
for _ in $(seq 100); do [ -s "$work/registry" ] && break; kill -0 "$registry_pid"; sleep 0.1; done
repository=$(cat "$work/registry")/demo/evidence
echo "registry at $repository"
"$seatrial" evidence keygen --out "$work/keys"

title "1  The plan"
"$seatrial" plan conformance --recipe sim-h100

title "2  The run"
cd "$work"
"$seatrial" run conformance --out out --key keys/seatrial.key --push "$repository" --plain-http
pointer=$(ls evidence/*/*.yaml)
echo "the pointer to commit, $pointer:"
cat "$pointer"

title "3  The evidence, verified from the pointer"
"$seatrial" evidence verify "$pointer" --key keys/seatrial.pub --plain-http

title "4a One byte of the bundle changed"
cp -r out/bundle changed
printf 'X' | dd of=changed/snapshot.json bs=1 seek=100 conv=notrunc status=none
must_exit 21 "$seatrial" evidence verify changed --key keys/seatrial.pub

title "4b A valid bundle, signed with a key that is not the expected one"
"$seatrial" -q evidence keygen --out other
must_exit 11 "$seatrial" evidence verify "$pointer" --key other/seatrial.pub --plain-http

title "4c A cluster with one defect: a node whose label says 8 GPUs and whose slice has 7"
cat > defect.yaml <<'YAML'
apiVersion: seatrial.dev/v1alpha1
kind: SimCluster
name: seven-of-eight
nodes:
- {name: sim-node-4, profile: h100-sxm-8, mode: dra, zone: sim-b, devices: 7}
YAML
"$seatrial" -q sim load --kubeconfig "$KUBECONFIG" defect.yaml
must_exit 1 "$seatrial" run conformance --out out-defect --key keys/seatrial.key --push "$repository" --plain-http
defect_pointer=$(ls -t evidence/*/*.yaml | head -1)
echo
echo "its evidence is as valid, and says so: the failure is recorded"
must_exit 1 "$seatrial" evidence verify "$defect_pointer" --key keys/seatrial.pub --plain-http

title "5  Tear-down"
"$seatrial" cleanup
"$seatrial" sim down --name demo --dir "$work/sim"
kill "$registry_pid"; wait "$registry_pid" 2>/dev/null || true; registry_pid=
cd /
rm -rf "$work"
left=$(pgrep -f -- "$work" || true)
if [ -n "$left" ] || [ -e "$work" ]; then echo "demo: left behind: processes $left, $work" >&2; exit 1; fi
echo "no process, port, file or object is left"
