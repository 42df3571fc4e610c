#!/usr/bin/env bash
# Finds or installs seatrial for action.yml, and says where it is in the output `binary`.
#
# A path that was given; the source of this action, for `version: source` or where the action is used as ./ ; else a release: its digest is
# compared with the one that was given, or with the release's own list, whose signature by the release workflow is verified first.
# SEATRIAL_RELEASES names a mirror, with a folder per version.
set -euo pipefail

fail() { echo "::error title=seatrial::$*"; exit 1; }

from_source() {
  command -v cargo >/dev/null || fail "building seatrial from source needs Rust: https://rustup.rs"
  local target=${RUNNER_TEMP:-/tmp}/seatrial-target
  # From its own folder, so that rust-toolchain.toml counts.
  (cd "$SEATRIAL_ACTION" && cargo build --release --locked --target-dir "$target" >&2) || fail "building seatrial from source failed"
  binary=$target/release/seatrial
}

from_release() {
  local version=$1 machine name from folder sums
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) machine=linux-amd64 ;;
    Linux-aarch64) machine=linux-arm64 ;;
    *) fail "there is no release for $(uname -s) on $(uname -m); build it from source with \`version: source\`" ;;
  esac
  name=seatrial-$version-$machine
  from=${SEATRIAL_RELEASES:-https://github.com/seatrial/seatrial/releases/download}/$version
  folder=${RUNNER_TEMP:-/tmp}/seatrial-$version
  mkdir -p "$folder"
  get() { curl --fail --silent --show-error --location --proto '=https,file' --proto-redir '=https' --retry 3 --max-time 300 --output "$folder/$1" "$from/$1" || fail "cannot download $from/$1"; }
  get "$name"
  if [ -n "$SEATRIAL_SHA256" ]; then
    echo "$SEATRIAL_SHA256  $folder/$name" | sha256sum --check --quiet - || fail "$name is not what \`sha256\` says"
  else
    get SHA256SUMS
    command -v gh >/dev/null || fail "verifying the release's signature needs gh (https://cli.github.com), or give \`sha256\` instead"
    sums=$folder/SHA256SUMS
    gh attestation verify "$sums" --repo seatrial/seatrial --signer-workflow seatrial/seatrial/.github/workflows/release.yaml \
      --source-ref "refs/tags/$version" >&2 || fail "SHA256SUMS of $version is not signed by seatrial's release workflow"
    (cd "$folder" && grep -F "  $name" SHA256SUMS | sha256sum --check --quiet -) || fail "$name is not what SHA256SUMS says"
  fi
  chmod 755 "$folder/$name"
  binary=$folder/$name
}

if [ -n "$SEATRIAL_GIVEN" ]; then
  binary=$(readlink -f "$SEATRIAL_GIVEN") && [ -x "$binary" ] || fail "\`path\` names $SEATRIAL_GIVEN, which is not a program"
elif [ "$SEATRIAL_VERSION" = source ] || { [ -z "$SEATRIAL_VERSION" ] && [ "$(readlink -f "$SEATRIAL_ACTION")" = "$(readlink -f "${GITHUB_WORKSPACE:-}")" ]; }; then
  from_source
else
  version=${SEATRIAL_VERSION:-v$(sed -n 's/^version = "\(.*\)"$/\1/p' "$SEATRIAL_ACTION/Cargo.toml" | sed -n 1p)}
  [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "\`version\` is $version; expected v1.2.3 or source"
  from_release "$version"
fi
echo "binary=$binary" >> "$GITHUB_OUTPUT"
"$binary" --version >&2
