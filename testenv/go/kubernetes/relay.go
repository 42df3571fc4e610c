package main

import (
	"errors"
	"io"
	"net"
)

// relay LISTEN TARGET hands each TCP connection on: a node in a network namespace of its own reaches by it an API server
// that listens on 127.0.0.1 only.
func relay(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: tcp-relay LISTEN TARGET")
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", args[1])
			if err != nil {
				return
			}
			defer server.Close()
			done := make(chan struct{}, 2)
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					io.Copy(pair[0], pair[1])
					done <- struct{}{}
				}()
			}
			<-done
		}()
	}
}
