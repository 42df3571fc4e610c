package main

import (
	"net/http"
	"strings"
)

// What each operation wants: one of these. GitHub names them with each operation of its REST reference.
var permissions = map[string][]string{
	"GET /repos/{owner}/{repo}/pulls/{number}":            {"pull_requests=read"},
	"GET /repos/{owner}/{repo}/pulls/{number}/reviews":    {"pull_requests=read"},
	"GET /repos/{owner}/{repo}/issues/{number}/comments":  {"issues=read", "pull_requests=read"},
	"POST /repos/{owner}/{repo}/issues/{number}/comments": {"issues=write", "pull_requests=write"},
	"PATCH /repos/{owner}/{repo}/issues/comments/{id}":    {"issues=write", "pull_requests=write"},
	"DELETE /repos/{owner}/{repo}/issues/comments/{id}":   {"issues=write", "pull_requests=write"},
	"POST /repos/{owner}/{repo}/check-runs":               {"checks=write"},
	"PATCH /repos/{owner}/{repo}/check-runs/{id}":         {"checks=write"},
	"GET /orgs/{org}/teams/{team}/memberships/{user}":     {"members=read"},
	"GET /repos/{owner}/{repo}/git/ref/{ref...}":          {"contents=read"},
	"GET /repos/{owner}/{repo}/git/commits/{sha}":         {"contents=read"},
	"POST /repos/{owner}/{repo}/git/trees":                {"contents=write"},
	"POST /repos/{owner}/{repo}/git/commits":              {"contents=write"},
	"POST /repos/{owner}/{repo}/git/refs":                 {"contents=write"},
	"PATCH /repos/{owner}/{repo}/git/refs/{ref...}":       {"contents=write"},
	"GET /repos/{owner}/{repo}/pulls":                     {"pull_requests=read"},
	"POST /repos/{owner}/{repo}/pulls":                    {"pull_requests=write"},
}

// token is what an Authorization header grants, and to whom.
type token struct {
	user    string
	granted map[string]string
}

func tokenOf(r *http.Request) (token, bool) {
	_, value, found := strings.Cut(r.Header.Get("Authorization"), " ")
	read := token{user: "github-actions[bot]", granted: map[string]string{}}
	for _, part := range strings.Split(value, ",") {
		name, level, _ := strings.Cut(part, "=")
		if name == "user" {
			read.user = level
		} else {
			read.granted[name] = level
		}
	}
	return read, found
}

// may is true if the token grants one of what is wanted; who may write may read.
func (t token) may(wanted []string) bool {
	for _, one := range wanted {
		name, level, _ := strings.Cut(one, "=")
		if t.granted[name] == level || t.granted[name] == "write" {
			return true
		}
	}
	return false
}
