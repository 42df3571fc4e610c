// A private Sigstore for tests, in one process group: Fulcio, Rekor v2, a timestamp authority, and in this process an OIDC
// issuer of people, one of GitHub workflows, a certificate transparency log, and TUF repositories of the trusted root.
//
//	sigstore-stack get URL     writes what is there to standard output
//	sigstore-stack DIR         with SEATRIAL_BIN_FULCIO, SEATRIAL_BIN_TIMESTAMP_SERVER and SEATRIAL_BIN_REKOR_SERVER
//
// All listen at fixed ports and some of the servers on all interfaces, so it runs in a network namespace of its own. DIR gets
// trusted_root.json, signing_config.json, logs, and at last the file `ready`. It ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Where everything is; the network namespace is ours alone.
const (
	rekorURL   = "http://127.0.0.1:13000"
	tsaURL     = "http://127.0.0.1:13010/api/v1/timestamp"
	peopleURL  = "http://127.0.0.1:13020"
	githubURL  = "http://127.0.0.1:13021"
	fulcioURL  = "http://127.0.0.1:13030"
	rekorName  = "rekor.local"
	issuerConf = `oidc-issuers:
  "` + peopleURL + `": {issuer-url: "` + peopleURL + `", client-id: sigstore, type: email}
  "` + githubURL + `": {issuer-url: "` + githubURL + `", client-id: sigstore, type: github-workflow}
`
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == "get" {
		if err := get(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	if len(os.Args) != 2 {
		log.Fatal("usage: sigstore-stack DIR | sigstore-stack get URL")
	}
	if err := run(os.Args[1]); err != nil {
		_ = os.WriteFile(filepath.Join(os.Args[1], "failed"), []byte(err.Error()), 0o644)
		log.Fatal(err)
	}
}

func run(dir string) error {
	ct, err := newLog()
	if err != nil {
		return err
	}
	people, err := newIssuer(peopleURL, ct)
	if err != nil {
		return err
	}
	github, err := newIssuer(githubURL, nil)
	if err != nil {
		return err
	}
	rekor, err := newKey(filepath.Join(dir, "rekor.pem"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"fulcio.yaml": issuerConf, "ctlog.pub": ct.publicPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for address, handler := range map[string]http.Handler{"127.0.0.1:13020": people, "127.0.0.1:13021": github, "127.0.0.1:13022": newTUF(dir)} {
		go func() { log.Fatal(http.ListenAndServe(address, handler)) }()
	}
	started := []error{
		start(dir, "REKOR_SERVER", "serve", "--hostname", rekorName, "--http-address", "127.0.0.1", "--http-port", "13000",
			"--grpc-address", "127.0.0.1", "--grpc-port", "13001", "--http-metrics-port", "13002", "--storage-dir", filepath.Join(dir, "tiles"),
			"--signer-filepath", filepath.Join(dir, "rekor.pem"), "--checkpoint-interval", "200ms", "--batch-max-age", "50ms"),
		start(dir, "TIMESTAMP_SERVER", "serve", "--host", "127.0.0.1", "--port", "13010", "--timestamp-signer", "memory", "--disable-ntp-monitoring"),
	}
	if err := await(peopleURL + "/keys"); err != nil {
		return err
	}
	started = append(started, start(dir, "FULCIO", "serve", "--ca", "ephemeralca", "--host", "127.0.0.1", "--port", "13030", "--grpc-host", "127.0.0.1",
		"--grpc-port", "13031", "--metrics-port", "13032", "--config-path", filepath.Join(dir, "fulcio.yaml"), "--ct-log-url", peopleURL,
		"--ct-log-public-key-path", filepath.Join(dir, "ctlog.pub"), "--legacy-unix-domain-socket", "@sigstore-stack"))
	for _, err := range started {
		if err != nil {
			return err
		}
	}
	for _, url := range []string{githubURL + "/keys", rekorURL + "/healthz", tsaURL + "/certchain", fulcioURL + "/healthz"} {
		if err := await(url); err != nil {
			return err
		}
	}
	if err := writeConfigs(dir, rekor, ct); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o644); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// get writes what is at an address to standard output.
func get(url string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// start runs a server whose path is in SEATRIAL_BIN_<name>; it ends with the process namespace.
func start(dir, name string, arguments ...string) error {
	output, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return err
	}
	command := exec.Command(os.Getenv("SEATRIAL_BIN_"+name), arguments...)
	command.Dir, command.Stdout, command.Stderr = dir, output, output
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() { log.Printf("%s ended: %v", name, command.Wait()) }()
	return nil
}

// await waits until a server answers.
func await(url string) error {
	var last error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get(url)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %s", answer.Status)
		}
		last = err
	}
	return fmt.Errorf("%s does not answer: %w", url, last)
}
