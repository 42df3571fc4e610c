package main

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// writeConfigs writes whom verifiers believe and where signers go, in Sigstore's own formats.
func writeConfigs(dir string, rekor []byte, ct *transparencyLog) error {
	fulcioChain, err := chain(fulcioURL + "/api/v1/rootCert")
	if err != nil {
		return err
	}
	tsaChain, err := chain(tsaURL + "/certchain")
	if err != nil {
		return err
	}
	from := map[string]any{"start": "2026-01-01T00:00:00Z"}
	logOf := func(url string, spki []byte) map[string]any {
		id := sha256.Sum256(spki)
		return map[string]any{
			"baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": map[string]any{"keyId": id[:]},
			"publicKey": map[string]any{"rawBytes": spki, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": from},
		}
	}
	authority := func(name, url string, certificates []map[string]any) map[string]any {
		return map[string]any{
			"uri": url, "subject": map[string]any{"organization": "seatrial tests", "commonName": name},
			"certChain": map[string]any{"certificates": certificates}, "validFor": from,
		}
	}
	root := map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		// The name is the log's own, which its checkpoints carry; where it is called is in the other file.
		"tlogs":                  []any{logOf("https://"+rekorName, rekor)},
		"ctlogs":                 []any{logOf(peopleURL, ct.spki)},
		"certificateAuthorities": []any{authority("fulcio", fulcioURL, fulcioChain)},
		"timestampAuthorities":   []any{authority("tsa", tsaURL, tsaChain)},
	}
	service := func(url string, version int) []any {
		return []any{map[string]any{"url": url, "majorApiVersion": version, "validFor": from, "operator": "seatrial tests"}}
	}
	config := map[string]any{
		"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":    service(fulcioURL, 1), "oidcUrls": service(peopleURL, 1), "rekorTlogUrls": service(rekorURL, 2), "tsaUrls": service(tsaURL, 1),
		"rekorTlogConfig": map[string]any{"selector": "ANY"}, "tsaConfig": map[string]any{"selector": "ANY"},
	}
	for name, document := range map[string]any{"trusted_root.json": root, "signing_config.json": config} {
		text, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chain fetches certificates in PEM form.
func chain(url string) ([]map[string]any, error) {
	reply, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	rest, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	var certificates []map[string]any
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certificates, nil
		}
		certificates = append(certificates, map[string]any{"rawBytes": block.Bytes})
	}
}
