package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// tufRepositories serves TUF repositories whose one target is the trusted root of this stack.
//
//	GET /do/NAME/ACTION    makes or changes a repository; answers with its first root.json
//	GET /NAME/…            its metadata, and below targets/ its target
//
// Actions: new, next (a later version of everything but the root), back (what it held before), expire, forge, endless, swap (another
// target than what is signed), rotate (a root with other keys), usurp (the same, not signed by the old ones), nonsense (a target that is
// no trusted root).
type tufRepositories struct {
	sync.Mutex
	dir string
	all map[string]*tufRepository
}

// tufRepository is what one serves, by path, and the keys of its roles.
type tufRepository struct {
	root           *metadata.Metadata[metadata.RootType]
	keys           map[string]signature.Signer
	version        int64
	target         []byte
	files, earlier map[string][]byte
	endless        bool
}

var tufRoles = []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP}

func newTUF(dir string) http.Handler {
	t := &tufRepositories{dir: dir, all: map[string]*tufRepository{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /do/{name}/{action}", t.do)
	mux.HandleFunc("GET /{name}/{path...}", t.serve)
	return mux
}

func (t *tufRepositories) serve(w http.ResponseWriter, r *http.Request) {
	t.Lock()
	repository := t.all[r.PathValue("name")]
	if repository == nil {
		t.Unlock()
		http.NotFound(w, r)
		return
	}
	content, there := repository.files[r.PathValue("path")]
	endless := repository.endless && r.PathValue("path") == "timestamp.json"
	t.Unlock()
	for endless {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
	if !there {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

func (t *tufRepositories) do(w http.ResponseWriter, r *http.Request) {
	t.Lock()
	defer t.Unlock()
	first, err := t.act(r.PathValue("name"), r.PathValue("action"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(first)
}

func (t *tufRepositories) act(name, action string) ([]byte, error) {
	repository := t.all[name]
	if action == "new" {
		target, err := os.ReadFile(filepath.Join(t.dir, "trusted_root.json"))
		if err != nil {
			return nil, err
		}
		if repository, err = newTUFRepository(target); err != nil {
			return nil, err
		}
		t.all[name] = repository
	}
	if repository == nil {
		return nil, fmt.Errorf("no repository %s", name)
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	var err error
	switch action {
	case "new", "next":
		err = repository.publish(tomorrow)
	case "back":
		repository.files = repository.earlier
	case "expire":
		err = repository.publish(time.Now().Add(-time.Hour))
	case "forge":
		rightful := repository.keys[metadata.TIMESTAMP]
		if repository.keys[metadata.TIMESTAMP], _, err = tufKey(); err == nil {
			err = repository.publish(tomorrow)
		}
		repository.keys[metadata.TIMESTAMP] = rightful
	case "endless":
		repository.endless = true
	case "swap":
		for path, content := range repository.files {
			if string(content) == string(repository.target) {
				swapped := append([]byte(nil), content...)
				swapped[len(swapped)/2] ^= 1
				repository.files[path] = swapped
			}
		}
	case "rotate", "usurp":
		if err = repository.rotate(action == "rotate"); err == nil {
			err = repository.publish(tomorrow)
		}
	case "nonsense":
		repository.target = []byte(`{"mediaType":"text/plain"}`)
		err = repository.publish(tomorrow)
	default:
		err = fmt.Errorf("no action %s", action)
	}
	return repository.files["1.root.json"], err
}

func tufKey() (signature.Signer, *metadata.Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := signature.LoadSigner(private, crypto.SHA256)
	if err != nil {
		return nil, nil, err
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	return signer, key, err
}

func newTUFRepository(target []byte) (*tufRepository, error) {
	r := &tufRepository{
		root: metadata.Root(time.Now().Add(24 * time.Hour)), keys: map[string]signature.Signer{}, target: target, files: map[string][]byte{},
	}
	r.root.Signed.ConsistentSnapshot = true
	if err := r.appoint(); err != nil {
		return nil, err
	}
	return r, r.signRoot(r.keys[metadata.ROOT])
}

// appoint gives each role a key of its own, which replaces the one that it had.
func (r *tufRepository) appoint() error {
	for _, role := range tufRoles {
		signer, key, err := tufKey()
		if err != nil {
			return err
		}
		for _, old := range append([]string(nil), r.root.Signed.Roles[role].KeyIDs...) {
			if err := r.root.Signed.RevokeKey(old, role); err != nil {
				return err
			}
		}
		if err := r.root.Signed.AddKey(key, role); err != nil {
			return err
		}
		r.keys[role] = signer
	}
	return nil
}

// rotate makes the next root, with other keys for all roles; it must be signed by the old key as well.
func (r *tufRepository) rotate(rightfully bool) error {
	signers := []signature.Signer{r.keys[metadata.ROOT]}
	r.root.Signed.Version++
	if err := r.appoint(); err != nil {
		return err
	}
	if !rightfully {
		signers = nil
	}
	return r.signRoot(append(signers, r.keys[metadata.ROOT])...)
}

func (r *tufRepository) signRoot(signers ...signature.Signer) error {
	r.root.ClearSignatures()
	return put(r.files, fmt.Sprintf("%d.root.json", r.root.Signed.Version), r.root, signers...)
}

// publish makes the next version of everything but the root; the timestamp is good until then.
func (r *tufRepository) publish(until time.Time) error {
	tomorrow := time.Now().Add(24 * time.Hour)
	r.earlier = r.files
	r.files = map[string][]byte{}
	for path, content := range r.earlier {
		r.files[path] = content
	}
	r.version++
	targets, snapshot, timestamp := metadata.Targets(tomorrow), metadata.Snapshot(tomorrow), metadata.Timestamp(until)
	targets.Signed.Version, snapshot.Signed.Version, timestamp.Signed.Version = r.version, r.version, r.version
	target, err := metadata.TargetFile().FromBytes("trusted_root.json", r.target, "sha256")
	if err != nil {
		return err
	}
	targets.Signed.Targets["trusted_root.json"] = target
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.version)
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.version)
	r.files["targets/"+hex.EncodeToString(target.Hashes["sha256"])+".trusted_root.json"] = r.target
	for _, err := range []error{
		put(r.files, fmt.Sprintf("%d.targets.json", r.version), targets, r.keys[metadata.TARGETS]),
		put(r.files, fmt.Sprintf("%d.snapshot.json", r.version), snapshot, r.keys[metadata.SNAPSHOT]),
		put(r.files, "timestamp.json", timestamp, r.keys[metadata.TIMESTAMP]),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func put[T metadata.Roles](files map[string][]byte, path string, document *metadata.Metadata[T], signers ...signature.Signer) error {
	for _, signer := range signers {
		if _, err := document.Sign(signer); err != nil {
			return err
		}
	}
	content, err := document.ToBytes(true)
	files[path] = content
	return err
}
