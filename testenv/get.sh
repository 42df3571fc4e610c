#!/usr/bin/env bash
# Finds the real servers that the tests and the demo talk to, and builds the ones that are missing.
#
#   testenv/get.sh NAME...     prints NAME=PATH for each, on stdout; progress goes to stderr
#
# Looked for, in this order: $SEATRIAL_BIN_<NAME> (upper case, - as _), $KUBEBUILDER_ASSETS, $PATH, the cache; else built
# from Go modules at the versions pinned in testenv/go/*/go.mod (or from Debian's or Python's packages), once, into the cache.
# The cache is $SEATRIAL_CACHE, else $XDG_CACHE_HOME/seatrial, else ~/.cache/seatrial; a change of a pin changes the folder.
# With --no-build, a name that would have to be built is left out, with a line that says so.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SEATRIAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial}/testenv
kubernetes_version=v1.35.4

say() { printf 'testenv: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Which folder of testenv/go or testenv/npm, or which list of packages (testenv/NAME.txt), a program comes from.
component_of() {
  case $1 in
    kube-apiserver | kube-controller-manager | kube-scheduler | kubectl | kubelet | pause | gpu-device-plugin | tcp-relay) echo kubernetes ;;
    containerd | containerd-shim-runc-v2 | ctr | cni-bridge | cni-host-local) echo containerd ;;
    runc) echo runc ;;
    etcd) echo etcd ;;
    kwok | kwokctl) echo kwok ;;
    oci-registry) echo registry ;;
    fulcio | rekor-server | timestamp-server | sigstore-stack) echo sigstore ;;
    rekor-server-v1 | trillian-memory) echo rekor-v1 ;;
    oras | docker-registry) echo debian ;;
    cosign) echo cosign ;;
    act | actionlint) echo actions ;;
    github-fake) echo github ;;
    zizmor) echo zizmor ;;
    prism) echo prism ;;
    kueue | jobset | lws | trainer | metrics-server) echo controllers ;;
    karpenter-kwok) echo karpenter ;;
    volcano-scheduler | volcano-controller-manager | volcano-webhook-manager) echo volcano ;;
    kai-scheduler | kai-binder | kai-podgrouper | kai-podgroupcontroller | kai-queuecontroller) echo kai ;;
    chainsaw) echo chainsaw ;;
    prometheus) echo prometheus ;;
    sigstore-python) echo sigstore-python ;;
    *) die "no program named $1; see component_of in testenv/get.sh" ;;
  esac
}

# A folder name that changes when the pins, the sources or the compiler change.
key_of() {
  local component=$1
  if [ -f "$here/$component.txt" ]; then
    sha256sum "$here/$component.txt" | cut -c1-12
  elif [ -d "$here/npm/$component" ]; then
    { cat "$here/npm/$component"/*.json; node --version; } | sha256sum | cut -c1-12
  elif [ -d "$here/python/$component" ]; then
    { cat "$here/python/$component"/*; python3 --version; uname -m; } | sha256sum | cut -c1-12
  else
    { cat "$here/go/$component"/*; go env GOVERSION GOOS GOARCH; echo "$kubernetes_version"; } | sha256sum | cut -c1-12
  fi
}

go_build() {
  local out=$1; shift
  # The caller's GOFLAGS are kept out: they could change what is built behind the cache's back.
  GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath -mod=readonly" go build -o "$out" "$@" >&2
}

build_kubernetes() {
  local version=k8s.io/component-base/version minor=${kubernetes_version#v1.} name
  minor=${minor%%.*}
  go_build "$1/hyper" -ldflags "-s -w -X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 -X $version.gitMinor=$minor \
    -X $version.gitTreeState=archive -X $version.gitCommit=unknown -X $version.buildDate=2026-01-01T00:00:00Z -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes_version" .
  for name in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet gpu-device-plugin tcp-relay; do ln -s hyper "$1/$name"; done
  cc -Os -static -DVERSION=1 -o "$1/pause" "$(GOFLAGS=-mod=readonly go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c"
}
build_containerd() {
  local containerd=github.com/containerd/containerd/v2/cmd plugins=github.com/containernetworking/plugins/plugins name
  go_build "$1/" -ldflags "-s -w" $containerd/containerd $containerd/ctr $containerd/containerd-shim-runc-v2 $plugins/main/bridge $plugins/ipam/host-local
  for name in bridge host-local; do ln -s $name "$1/cni-$name"; done
}
# runc filters system calls by a C library; it is linked in, and its headers come from the machine or from its own release of Debian.
build_runc() {
  local flags=() seccomp=$1.apt
  if ! echo '#include <seccomp.h>' | cc -E - >/dev/null 2>&1; then
    # shellcheck disable=SC1091 # the machine's own
    debian_unpack "$seccomp" "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" libseccomp-dev
    local headers=$seccomp/root/usr/include library
    library=$(dirname "$(find "$seccomp/root" -name libseccomp.a)")
    flags=("CGO_CFLAGS=-I$headers" "CGO_LDFLAGS=-L$library" "PKG_CONFIG_PATH=$library/pkgconfig")
  fi
  env "${flags[@]}" CGO_ENABLED=1 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -trimpath -mod=readonly" \
    go build -tags "seccomp netgo osusergo" -ldflags "-s -w -extldflags -static" -o "$1/runc" github.com/opencontainers/runc >&2
  rm -rf "$seccomp"
}
# The controllers that are built against Kubernetes 1.36, in one module: they share what they are made of.
build_controllers() {
  local kueue jobset lws trainer
  go_build "$1/" -ldflags "-s -w" sigs.k8s.io/kueue/cmd/kueue sigs.k8s.io/jobset sigs.k8s.io/metrics-server/cmd/metrics-server
  go_build "$1/lws" -ldflags "-s -w" sigs.k8s.io/lws/cmd
  go_build "$1/trainer" -ldflags "-s -w" github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager
  kueue=$(module_folder sigs.k8s.io/kueue) jobset=$(module_folder sigs.k8s.io/jobset) lws=$(module_folder sigs.k8s.io/lws)
  trainer=$(module_folder github.com/kubeflow/trainer/v2)
  manifests "$1/kueue.d" crds "$kueue/config/components/crd/bases" webhooks "$kueue/config/components/webhook/manifests.yaml"
  manifests "$1/jobset.d" crds "$jobset/config/components/crd/bases" webhooks "$jobset/config/components/webhook/manifests.yaml"
  manifests "$1/lws.d" crds "$lws/config/crd/bases" webhooks "$lws/config/webhook/manifests.yaml"
  manifests "$1/trainer.d" crds "$trainer/manifests/base/crds" webhooks "$trainer/manifests/base/webhook/manifests.yaml" runtimes "$trainer/manifests/base/runtimes"
}
build_karpenter() {
  local karpenter
  go_build "$1/karpenter-kwok" -ldflags "-s -w" sigs.k8s.io/karpenter/kwok
  karpenter=$(module_folder sigs.k8s.io/karpenter)
  manifests "$1/karpenter-kwok.d" crds "$karpenter/pkg/apis/crds" provider "$karpenter/kwok/apis/crds"
}
build_volcano() {
  local volcano name
  for name in scheduler controller-manager webhook-manager; do go_build "$1/volcano-$name" -ldflags "-s -w" "volcano.sh/volcano/cmd/$name"; done
  volcano=$(module_folder volcano.sh/volcano)
  manifests "$1/volcano-scheduler.d" crds "$volcano/config/crd/volcano/bases" jobflow "$volcano/config/crd/jobflow/bases" install "$volcano/installer/volcano-development.yaml"
}
build_kai() {
  local kai name
  for name in scheduler binder podgrouper podgroupcontroller queuecontroller; do go_build "$1/kai-${name#kai-}" -ldflags "-s -w" "github.com/NVIDIA/KAI-scheduler/cmd/$name"; done
  kai=$(module_folder github.com/NVIDIA/KAI-scheduler)
  manifests "$1/kai-scheduler.d" crds "$kai/deployments/kai-scheduler/crds" priorityclasses "$kai/deployments/kai-scheduler/templates/priorityclasses"
}
# Its newest release lacks a method that Go 1.26 wants of what it hands to Go's own test runner: built from a copy that has it.
build_chainsaw() {
  local copy=$1.apt/chainsaw
  mkdir -p "$copy"
  cp go.mod go.sum "$1.apt/"
  cp -r "$(go mod download -json github.com/kyverno/chainsaw@v0.2.14 | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')"/{go.mod,go.sum,main.go,pkg} "$copy/"
  chmod -R u+w "$copy"
  printf 'package internal\n\nfunc (*TestDeps) ModulePath() string { return "" }\n' > "$copy/pkg/runner/internal/modulepath.go"
  ( cd "$1.apt" && go_build "$1/chainsaw" -ldflags "-s -w -X github.com/kyverno/chainsaw/pkg/version.BuildVersion=v0.2.14" github.com/kyverno/chainsaw )
  chmod -R u+w "$1.apt" && rm -rf "$1.apt"
}
# The folder of a module that go.mod here names.
module_folder() { GOFLAGS=-mod=readonly go list -m -f '{{.Dir}}' "$1"; }
# manifests FOLDER NAME SOURCE...: what a controller's makers install beside it, a file or the files of a folder, as FOLDER/NAME/….yaml
manifests() {
  local folder=$1; shift
  while [ $# -gt 0 ]; do
    mkdir -p "$folder/$1"
    if [ -d "$2" ]; then cp "$2"/*.yaml "$folder/$1/"; else cp "$2" "$folder/$1/"; fi
    chmod -R u+w "$folder/$1"
    shift 2
  done
}
build_etcd() { go_build "$1/etcd" -ldflags "-s -w" go.etcd.io/etcd/server/v3; }
build_kwok() { go_build "$1/" -ldflags "-s -w -X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0" sigs.k8s.io/kwok/cmd/kwok sigs.k8s.io/kwok/cmd/kwokctl; }
# Fulcio, Rekor v2 on plain files, a timestamp authority, and a main of our own that runs them with an issuer and a CT log.
build_sigstore() {
  go_build "$1/" -ldflags "-s -w" github.com/sigstore/fulcio github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server
  go_build "$1/rekor-server" -ldflags "-s -w" github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix
  go_build "$1/sigstore-stack" -ldflags "-s -w" .
}
# The first version of Rekor, which the public-good instance still has, and the log behind it.
build_rekor-v1() {
  go_build "$1/rekor-server-v1" -ldflags "-s -w" github.com/sigstore/rekor/cmd/rekor-server
  go_build "$1/trillian-memory" -ldflags "-s -w" .
}
# act runs GitHub's workflows on this machine; actionlint reads them.
build_actions() { go_build "$1/" -ldflags "-s -w" github.com/nektos/act github.com/rhysd/actionlint/cmd/actionlint; }
build_github() { go_build "$1/github-fake" -ldflags "-s -w" .; }
# A program in a Python package; nothing of Python is used when it runs.
build_zizmor() {
  command -v python3 >/dev/null || die "zizmor comes from a Python package and this machine has no python3: install it by hand"
  sed '/^#/d' "$here/zizmor.txt" > "$1/.pins"
  python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --target "$1/.python" -r "$1/.pins" >&2
  cp "$1/.python/bin/zizmor" "$1/zizmor"
  rm -rf "$1/.python" "$1/.pins"
}
# What is in the lock file and nothing else; no package's own scripts run.
build_prism() {
  command -v npm >/dev/null || die "prism comes from npm packages and this machine has no npm: install Node.js"
  cp "$here"/npm/prism/*.json "$1/"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --omit=dev --loglevel=error >&2
  printf '#!/bin/sh\nexec node "$(dirname "$(readlink -f "$0")")/node_modules/@stoplight/prism-cli/dist/index.js" "$@"\n' > "$1/prism"
  chmod 755 "$1/prism"
}
# The packages lie beside the program and are its own; wheels only, so that no package's own scripts run.
build_sigstore-python() {
  command -v python3 >/dev/null && python3 -m pip --version >/dev/null || die "sigstore-python comes from Python packages and this machine has no python3 with pip"
  python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --target "$1/packages" \
    -r "$here/python/sigstore-python/requirements.txt" >&2
  # shellcheck disable=SC2016 # it is for the program
  printf '#!/bin/sh\nPYTHONPATH=$(dirname "$(readlink -f "$0")")/packages exec python3 -s -m sigstore "$@"\n' > "$1/sigstore-python"
  chmod 755 "$1/sigstore-python"
}
build_registry() { go_build "$1/oci-registry" -ldflags "-s -w" .; }

# debian_unpack FOLDER SUITE PACKAGE...: unpacks packages of a Debian release into FOLDER/root; needs no root and changes nothing else.
debian_unpack() {
  local apt=$1 suite=$2 mirror options; shift 2
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "$* come from Debian packages and this machine has no apt-get: install them by hand"
  # The machine's own mirror of Debian: other sources (vendors', security updates) do not hold the release.
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -nE 's/^deb (\[[^]]*\] )?([^ ]+\/debian\/?) .*/\2/p; s/^URIs: *([^ ]+\/debian\/?)( .*)?$/\1/p' | sed -n 1p) || true
  [ -n "$mirror" ] || die "$* come from Debian packages and /etc/apt names no mirror of Debian: install them by hand"
  rm -rf "$apt"; mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt/sources.list"
  options=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=)
  apt-get "${options[@]}" update >&2
  (cd "$apt/debs" && apt-get "${options[@]}" download "$@" >&2)
  for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$apt/root"; done
}
build_debian() { build_packages "$1" "$here/debian.txt"; }
build_prometheus() { build_packages "$1" "$here/prometheus.txt"; }
build_cosign() { build_packages "$1" "$here/cosign.txt"; }
# build_packages FOLDER LIST: the programs of packages of a Debian release.
build_packages() {
  # shellcheck disable=SC2046 # a list of package names
  debian_unpack "$1.apt" "$(sed -n 's/^suite //p' "$2")" $(sed -n 's/^package //p' "$2")
  cp "$1.apt"/root/usr/bin/* "$1/"
  rm -rf "$1.apt"
}

# Builds a component into its cache folder: in a folder of another name first, so that a cut-off build is never found.
build() {
  local component=$1 target=$2 began=$SECONDS partial
  [ -f "$here/$component.txt" ] || [ -d "$here/npm/$component" ] || [ -d "$here/python/$component" ] || command -v go >/dev/null || die "building $component needs Go (see go.mod in testenv/go/$component for the version)"
  mkdir -p "$cache"
  exec 9>"$cache/$component.lock"
  # Two builds at once would only slow each other down.
  if command -v flock >/dev/null; then flock 9; fi
  [ -d "$target" ] && return
  partial=$(mktemp -d "$cache/.building-$component.XXXXXX")
  say "building $component into $target (once; cold, Kubernetes takes 5 to 8 minutes on 2 cores, containerd 2 to 3, the others under 2)"
  ( cd "$here/go/$component" 2>/dev/null || cd "$here"; "build_$component" "$partial" ) &
  local pid=$!
  # shellcheck disable=SC2064 # the pid of now
  trap "kill $pid 2>/dev/null; rm -rf '$partial' '$partial.apt'" EXIT
  while kill -0 $pid 2>/dev/null; do
    if [ $(((SECONDS - began) % 30)) = 29 ]; then say "  still building $component, $((SECONDS - began)) s"; fi
    sleep 1
  done
  wait $pid || die "building $component failed; the lines above say why"
  chmod 755 "$partial"
  mv "$partial" "$target"
  trap - EXIT
  exec 9>&-
  say "built $component in $((SECONDS - began)) s"
}

no_build=
[ "${1:-}" = --no-build ] && { no_build=1; shift; }
[ $# -gt 0 ] || die "usage: testenv/get.sh [--no-build] NAME..."
for name in "$@"; do
  component=$(component_of "$name")
  variable=SEATRIAL_BIN_$(echo "$name" | tr 'a-z-' 'A-Z_')
  if [ -n "${!variable:-}" ]; then
    [ -x "${!variable}" ] || die "$variable is ${!variable}, which is not a program"
    path=${!variable}
  elif [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ]; then
    path=$KUBEBUILDER_ASSETS/$name
  # What a node is made of has to fit together, and a machine's own containerd is in use.
  elif [ "$component" != containerd ] && [ "$component" != runc ] && path=$(command -v "$name"); then
    :
  else
    target=$cache/$component-$(key_of "$component")
    path=$target/$name
    if [ ! -d "$target" ]; then
      if [ -n "$no_build" ]; then say "$name is not here and --no-build was given"; continue; fi
      build "$component" "$target"
    fi
    [ -x "$path" ] || die "$target holds no $name: remove the folder to build it again"
  fi
  echo "$name=$path"
done
