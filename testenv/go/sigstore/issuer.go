package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// issuer is an OIDC issuer that vouches for whatever it is asked to.
//
//	GET /mint?CLAIM=VALUE…     a token, as text
//	GET /token?CLAIM=VALUE…    a token as GitHub's runners get it, for the bearer `request-token`
type issuer struct {
	*http.ServeMux
	url string
	key *rsa.PrivateKey
}

func newIssuer(address string, ct *transparencyLog) (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	i := &issuer{http.NewServeMux(), address, key}
	i.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": address, "jwks_uri": address + "/keys", "authorization_endpoint": address + "/auth", "token_endpoint": address + "/token",
			"device_authorization_endpoint": address + "/device/code",
			"response_types_supported":      []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	i.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	i.HandleFunc("GET /mint", func(w http.ResponseWriter, r *http.Request) {
		token, err := i.mint(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(token))
	})
	i.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer request-token" && r.Header.Get("Authorization") != "Bearer request-token" {
			http.Error(w, `{"message":"bad credentials"}`, http.StatusUnauthorized)
			return
		}
		token, err := i.mint(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, map[string]any{"count": 1, "value": token})
	})
	i.offerLogins()
	if ct != nil {
		i.HandleFunc("POST /ct/v1/add-pre-chain", ct.addPreChain)
	}
	return i, nil
}

// mint signs the claims of a person or of a GitHub workflow, some of them replaced.
func (i *issuer) mint(replaced url.Values) (string, error) {
	now := time.Now()
	claims := jwt.MapClaims{"iss": i.url, "aud": "sigstore", "iat": now.Add(-5 * time.Second).Unix(), "nbf": now.Add(-5 * time.Second).Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	defaults := map[string]string{"sub": "dev@example.com", "email": "dev@example.com"}
	if i.url == githubURL {
		defaults = github
	} else {
		claims["email_verified"] = true
	}
	for name, value := range defaults {
		claims[name] = value
	}
	for name, values := range replaced {
		if name == "audience" {
			name = "aud"
		}
		if values[0] == "" {
			delete(claims, name)
		} else {
			claims[name] = values[0]
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "1"
	return token.SignedString(i.key)
}

// github is what GitHub says of a workflow run.
var github = map[string]string{
	"sub": "repo:example-org/evidence:ref:refs/heads/main", "ref": "refs/heads/main", "ref_type": "branch", "sha": "2e8dcf405ce80acd38aeb5c94e2fdae247d02ffe",
	"repository": "example-org/evidence", "repository_owner": "example-org", "repository_owner_id": "101", "repository_id": "202",
	"repository_visibility": "public", "run_id": "3003", "run_number": "4", "run_attempt": "1", "actor": "octocat", "actor_id": "5", "workflow": "ci",
	"workflow_ref": "example-org/evidence/.github/workflows/ci.yml@refs/heads/main", "workflow_sha": "2e8dcf405ce80acd38aeb5c94e2fdae247d02ffe",
	"event_name": "push", "job_workflow_ref": "example-org/shared/.github/workflows/reusable.yml@refs/tags/v1",
	"job_workflow_sha": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "runner_environment": "github-hosted",
}

// answer sends JSON.
func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
