// A stand-in for the parts of GitHub's API that seatrial uses: it keeps state, and wants permissions. Prism in front of it checks
// every request and every answer against GitHub's description.
//
//	github-fake -listen ADDRESS -public URL -description testenv/github/api.json
//
// A token is the list of its permissions, e.g. `checks=write,contents=read`; one of the form `user=NAME,…` names who acts.
//
//	GET  /_state    everything that is kept, and all requests that came
//	POST /_seed     {"reviews": …, "comments": …, "teams": …, "refs": …}: adds to it
//	POST /_fault    {"match": "METHOD PATH", "status": 502, "times": 1, "headers": {}}: the next requests that begin so are answered with this
//
// It ends when its standard input does.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:4020", "")
	public := flag.String("public", "", "where clients see it; links between pages lead there")
	description := flag.String("description", "", "GitHub's description of its API")
	flag.Parse()
	shapes, err := readShapes(*description)
	if err != nil {
		log.Fatal(err)
	}
	if *public == "" {
		*public = "http://" + *listen
	}
	server := newServer(shapes, *public)
	go func() { log.Fatal(http.ListenAndServe(*listen, server)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}
