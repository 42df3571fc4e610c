// Says what Go makes of YAML: for each file named on the command line, one line of JSON with its name and what gopkg.in/yaml.v3 reads.
//
// A .json file holds cases, name by name: each is read as if it were a file.
//
// Where sigs.k8s.io/yaml, which Kubernetes' own tools read with, gives other values, these are there as well.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml3 "gopkg.in/yaml.v3"
	kubernetes "sigs.k8s.io/yaml"
)

type golden struct {
	File       string            `json:"file"`
	Documents  []json.RawMessage `json:"documents,omitempty"`
	Refused    string            `json:"refused,omitempty"`
	Kubernetes []json.RawMessage `json:"kubernetes,omitempty"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, one := range inputs(path, text) {
			if err := out.Encode(read(one.name, one.text)); err != nil {
				fmt.Fprintln(os.Stderr, one.name, err)
				os.Exit(1)
			}
		}
	}
}

type input struct {
	name string
	text []byte
}

func inputs(path string, text []byte) []input {
	if filepath.Ext(path) != ".json" {
		return []input{{filepath.Base(path), text}}
	}
	cases := map[string]string{}
	if err := json.Unmarshal(text, &cases); err != nil {
		fmt.Fprintln(os.Stderr, path, err)
		os.Exit(1)
	}
	var all []input
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		all = append(all, input{name, []byte(cases[name])})
	}
	return all
}

func read(name string, text []byte) golden {
	seen := golden{File: name}
	decoder := yaml3.NewDecoder(bytes.NewReader(text))
	for {
		var document any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		var form []byte
		if err == nil {
			form, err = jsonOf(document)
		}
		if err != nil {
			return golden{File: name, Refused: err.Error()}
		}
		seen.Documents = append(seen.Documents, form)
	}
	if filepath.Ext(name) == ".yaml" {
		if other := asKubernetes(text); !same(seen.Documents, other) {
			seen.Kubernetes = other
		}
	}
	return seen
}

var separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?\r?$`)

// What Kubernetes' tools read, document by document; null where they refuse.
func asKubernetes(text []byte) []json.RawMessage {
	var read []json.RawMessage
	for _, document := range separator.Split(string(text), -1) {
		form, err := kubernetes.YAMLToJSON([]byte(document))
		if err != nil || string(form) == "null" {
			form = []byte("null")
		}
		read = append(read, form)
	}
	return read
}

// Empty documents aside, and 1.0 is 1.
func same(ours, theirs []json.RawMessage) bool {
	plain := func(all []json.RawMessage) []any {
		values := []any{}
		for _, one := range all {
			var value any
			if err := json.Unmarshal(one, &value); err != nil || value != nil {
				values = append(values, value)
			}
		}
		return values
	}
	return reflect.DeepEqual(plain(ours), plain(theirs))
}

// JSON that tells integers from floats; what JSON cannot say has a form of its own.
func jsonOf(value any) ([]byte, error) {
	switch value := value.(type) {
	case map[string]any:
		general := make(map[any]any, len(value))
		for key, inner := range value {
			general[key] = inner
		}
		return jsonOf(general)
	case map[any]any:
		fields := make(map[string]json.RawMessage, len(value))
		for key, inner := range value {
			switch key.(type) {
			case string, int, int64, uint64, float64, bool:
			default:
				return nil, fmt.Errorf("a key of type %T has no form in JSON", key)
			}
			name := fmt.Sprint(key)
			if _, twice := fields[name]; twice {
				return nil, fmt.Errorf("two keys %q", name)
			}
			form, err := jsonOf(inner)
			if err != nil {
				return nil, err
			}
			fields[name] = form
		}
		return plain(fields)
	case []any:
		items := make([]json.RawMessage, len(value))
		for index, inner := range value {
			form, err := jsonOf(inner)
			if err != nil {
				return nil, err
			}
			items[index] = form
		}
		return plain(items)
	case float64:
		if math.IsInf(value, 0) || math.IsNaN(value) {
			return plain(map[string]string{"$float": fmt.Sprint(value)})
		}
		text := strconv.FormatFloat(value, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return []byte(text), nil
	case time.Time:
		return plain(map[string]string{"$time": value.Format(time.RFC3339Nano)})
	default:
		return plain(value)
	}
}

func plain(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSpace(out.Bytes()), err
}
