package main

import (
	"encoding/json"
	"os"
	"strings"
)

// shapes makes the least that GitHub's description allows as an answer; what is kept is laid over it.
type shapes struct {
	Components struct {
		Schemas map[string]map[string]any `json:"schemas"`
	} `json:"components"`
}

func readShapes(path string) (*shapes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	read := &shapes{}
	return read, json.Unmarshal(text, read)
}

// of is an instance of a named schema with these values in it.
func (s *shapes) of(name string, values map[string]any) map[string]any {
	least, _ := s.least(s.Components.Schemas[name], 0).(map[string]any)
	for key, value := range values {
		least[key] = value
	}
	return least
}

// least is an instance with required properties only, and null where that may be.
func (s *shapes) least(schema map[string]any, depth int) any {
	if ref, ok := schema["$ref"].(string); ok {
		return s.least(s.Components.Schemas[ref[strings.LastIndex(ref, "/")+1:]], depth)
	}
	if nullable, _ := schema["nullable"].(bool); nullable && depth > 0 {
		return nil
	}
	for _, several := range []string{"oneOf", "anyOf"} {
		if choices, ok := schema[several].([]any); ok {
			return s.least(choices[0].(map[string]any), depth)
		}
	}
	if parts, ok := schema["allOf"].([]any); ok {
		all := map[string]any{}
		for _, part := range parts {
			if object, ok := s.least(part.(map[string]any), depth).(map[string]any); ok {
				for key, value := range object {
					all[key] = value
				}
			}
		}
		return all
	}
	if choices, ok := schema["enum"].([]any); ok {
		return choices[0]
	}
	switch schema["type"] {
	case "integer", "number":
		return 1
	case "boolean":
		return false
	case "array":
		return []any{}
	case "string":
		switch schema["format"] {
		case "uri":
			return "https://github.example/"
		case "date-time":
			return "2026-11-22T10:00:00Z"
		}
		return "text"
	}
	object := map[string]any{}
	required, _ := schema["required"].([]any)
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range required {
		if property, ok := properties[name.(string)].(map[string]any); ok {
			object[name.(string)] = s.least(property, depth+1)
		}
	}
	return object
}
