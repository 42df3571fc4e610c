#!/usr/bin/env bash
# Makes a container image without a daemon, from programs of this machine: an OCI layout in a tar file, for `ctr image import`.
#
#   testenv/node/image.sh OUT.tar NAME:TAG ENTRYPOINT SOURCE:PATH...
#
# Each SOURCE is put at PATH, together with the shared libraries that it names. ENTRYPOINT is one path in the image.
set -euo pipefail

out=$1 name=$2 entrypoint=$3; shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root; layout=$work/layout
mkdir -p "$root/tmp" "$layout/blobs/sha256"
chmod 1777 "$root/tmp"
for pair in "$@"; do
  source=${pair%%:*} path=${pair#*:}
  install -D -m 755 "$(readlink -f "$source")" "$root$path"
  # A static program names none.
  for library in $(ldd "$source" 2>/dev/null | grep -o '/[^ ]*' || true); do
    [ -e "$root$library" ] || install -D -m 755 "$(readlink -f "$library")" "$root$library"
  done
done

# Puts a file among the blobs and prints its descriptor's fields.
blob() {
  local digest
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")"
  mv "$1" "$layout/blobs/sha256/$digest"
}
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
# The same files give the same image.
tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer" .
diff=$(sha256sum "$work/layer" | cut -d' ' -f1)
printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/opt/gpu/bin:/usr/bin:/bin"],"Entrypoint":["%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
  "$arch" "$entrypoint" "$diff" > "$work/config"
media=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json",%s},"layers":[{"mediaType":"%s.layer.v1.tar",%s}]}' \
  $media $media "$(blob "$work/config")" $media "$(blob "$work/layer")" > "$work/manifest"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json",%s,"annotations":{"io.containerd.image.name":"%s"}}]}' \
  $media "$(blob "$work/manifest")" "$name" > "$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
tar -C "$layout" -cf "$out" .
