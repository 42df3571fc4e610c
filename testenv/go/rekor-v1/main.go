// trillian-memory is the log behind a Rekor of the first version, in memory: Trillian's own server without a database.
//
//	trillian-memory FILE     writes its port to FILE, and ends when its standard input does
package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"

	"github.com/google/trillian/extension"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/storage/memory"
	"github.com/google/trillian/testonly/integration"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: trillian-memory FILE")
	}
	trees := memory.NewTreeStorage()
	registry := extension.Registry{
		AdminStorage: memory.NewAdminStorage(trees), LogStorage: memory.NewLogStorage(trees, nil), QuotaManager: quota.Noop(),
	}
	server, err := integration.NewLogEnvWithRegistry(context.Background(), 1, registry)
	if err != nil {
		log.Fatal(err)
	}
	_, port, err := net.SplitHostPort(server.Address)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1]+".part", []byte(port), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(os.Args[1]+".part", os.Args[1]); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
