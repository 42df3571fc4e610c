// A small in-memory OCI registry for tests and the demo: referrers API on by default, with switches for an old registry that
// has none and for one that claims to have it.
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

// headerFilter drops one header from the responses of a handler.
type headerFilter struct {
	http.ResponseWriter
	name string
}

func (f headerFilter) WriteHeader(status int) {
	f.Header().Del(f.name)
	f.ResponseWriter.WriteHeader(status)
}

func (f headerFilter) Write(body []byte) (int, error) {
	// A body without WriteHeader sends the headers now.
	f.Header().Del(f.name)
	return f.ResponseWriter.Write(body)
}

// withoutHeader keeps a handler from answering with a header.
func withoutHeader(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(headerFilter{w, name}, r)
	})
}

func main() {
	log.SetFlags(0)
	port := flag.String("port", "0", "port on 127.0.0.1; 0 chooses a free one")
	auth := flag.String("auth", "", "user:password that every request needs")
	noReferrers := flag.Bool("no-referrers", false, "be an older registry: answer 404 to the referrers API and send no OCI-Subject header")
	lie := flag.Bool("lie", false, "answer 404 to the referrers API, but promise it by sending the OCI-Subject header")
	addressFile := flag.String("address-file", "", "write the chosen address here")
	flag.Parse()

	registry := ociserver.New(ocimem.New(), &ociserver.Options{DisableReferrersAPI: *noReferrers || *lie})
	if *noReferrers {
		registry = withoutHeader("OCI-Subject", registry)
	}
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
