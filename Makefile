# make demo: the main job, on a simulated cluster of this machine. make test: the tests, on real servers; make test-matrix: those that take long.
# Both get the servers they need first: testenv/get.sh says where from. The tests ask it again where they are.

control_plane := kube-apiserver kube-controller-manager kube-scheduler kubectl etcd kwok kwokctl
# A real node wants root; without, its tests are left out and its parts are not built.
real_node := $(if $(filter 0,$(shell id -u)),kubelet containerd runc)
# A private Sigstore, the client that everybody has, and one that shares no code with it or us.
sigstore := fulcio rekor-server timestamp-server sigstore-stack cosign sigstore-python
# What runs and reads GitHub's workflows, and a stand-in for its API.
github := act actionlint zizmor prism github-fake
# Controllers beside a control plane; those of the second line, and chainsaw, only for test-matrix.
addons := kueue jobset karpenter-kwok prometheus
more_addons := lws trainer metrics-server volcano-scheduler kai-scheduler chainsaw
servers := $(control_plane) $(addons) oci-registry oras docker-registry $(sigstore) $(github) $(real_node)
# NAME=PATH lines of get.sh as SEATRIAL_BIN_NAME=PATH words.
as_env := awk -F= '{ name = toupper($$1); gsub("-", "_", name); print "SEATRIAL_BIN_" name "=" $$2 }'

.PHONY: build demo test test-matrix bench lint release clean

build:
	cargo build --locked

demo:
	cargo build --locked
	@servers=$$(testenv/get.sh $(control_plane) oci-registry) && env $$(echo "$$servers" | $(as_env)) demo/demo.sh

test:
	testenv/get.sh $(servers) >/dev/null
	cargo test --locked

# Tests marked `#[ignore = "matrix"]`.
test-matrix:
	testenv/get.sh $(servers) $(more_addons) rekor-server-v1 trillian-memory >/dev/null
	cargo test --locked -- --ignored

# One static binary; packed, the relocations of its tables take a tenth of what they take (glibc 2.36 and later applies them).
static := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs

# Whole runs of the program that is released, at scale, against the bounds of docs/performance.md; PART=NAME runs one part.
bench:
	testenv/get.sh $(control_plane) $(sigstore) oci-registry oras >/dev/null
	RUSTFLAGS="$(static)" cargo bench --locked --target $(target) --bench scale -- $(PART)

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

# One static binary for GNU/Linux; docs/performance.md has its size.
target := $(shell uname -m)-unknown-linux-gnu
release:
	RUSTFLAGS="$(static)" cargo build --release --locked --target $(target)
	@ls -l target/$(target)/release/seatrial

clean:
	cargo clean
