// A small in-memory OCI registry for tests and the demo: referrers API on by default, with a switch for none.
//
// It listens on the loopback interface only, and writes the address it chose to -address-file when it is ready.
package main

import (
	"crypto/subtle"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// requireBasic wraps a handler so that only userpass ("user:password") may use it; empty lets everyone in.
func requireBasic(userpass string, next http.Handler) http.Handler {
	if userpass == "" {
		return next
	}
	user, password, _ := strings.Cut(userpass, ":")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gotUser, gotPassword, ok := r.BasicAuth()
		same := subtle.ConstantTimeCompare([]byte(gotUser), []byte(user)) & subtle.ConstantTimeCompare([]byte(gotPassword), []byte(password))
		if !ok || same != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="testenv"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func main() {
	log.SetFlags(0)
	port := flag.String("port", "0", "port on 127.0.0.1; 0 chooses a free one")
	auth := flag.String("auth", "", "user:password that every request needs")
	noReferrers := flag.Bool("no-referrers", false, "answer 404 to the referrers API, as older registries do")
	addressFile := flag.String("address-file", "", "write the chosen address here")
	flag.Parse()

	registry := ociserver.New(ocimem.New(), &ociserver.Options{DisableReferrersAPI: *noReferrers})
	listener, err := net.Listen("tcp", "127.0.0.1:"+*port)
	if err != nil {
		log.Fatalf("cannot listen: %v", err)
	}
	if *addressFile != "" {
		partial := *addressFile + ".partial"
		if err := os.WriteFile(partial, []byte(listener.Addr().String()), 0o644); err != nil {
			log.Fatalf("cannot write the address: %v", err)
		}
		if err := os.Rename(partial, *addressFile); err != nil {
			log.Fatalf("cannot write the address: %v", err)
		}
	}
	log.Printf("registry on %s", listener.Addr())
	log.Fatal(http.Serve(listener, requireBasic(*auth, registry)))
}
