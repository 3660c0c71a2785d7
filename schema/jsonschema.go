package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"cuelang.org/go/cue"
)

// JSONSchema gives the schema as a JSON Schema (draft 07, which every editor
// knows) for descriptions, or parts of them, that are written in JSON or YAML.
// It says all that the schema says of single values and names; what compares
// values with each other is for Load alone. A part of a description may
// leave out what another file says, so nothing is required of it.
func JSONSchema(part bool) ([]byte, error) {
	s, err := compileSchema()
	if err != nil {
		return nil, err
	}
	j := jsonSchemer{schema: s, part: part}
	top := j.node(s.top)
	top[schemaKey] = "http://json-schema.org/draft-07/schema#"
	top["title"] = "Mailstead: a description of mail hosts"
	top["properties"].(object)[schemaKey] = object{"type": "string", "description": "Which JSON Schema an editor checks this file by."}
	if err := errors.Join(j.errs...); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(top)
	return b.Bytes(), err
}

type object = map[string]any

// jsonSchemer writes rules as JSON Schema.
type jsonSchemer struct {
	schema *compiled
	part   bool
	errs   []error
}

func (j *jsonSchemer) node(r *rule) object {
	o := object{}
	switch {
	case r.pattern != nil:
		o["type"] = "object"
		o["additionalProperties"] = j.node(r.pattern)
		if names := j.leaf(r, r.key); len(names) > 1 { // more than that they are strings
			o["propertyNames"] = names
		}
	case r.fields != nil:
		j.fields(o, r)
	case r.elem != nil:
		o["type"], o["items"] = "array", j.node(r.elem)
		return o
	default:
		o = j.leaf(r, r.value)
	}
	return o
}

func (j *jsonSchemer) fields(o object, r *rule) {
	o["type"], o["additionalProperties"] = "object", false
	properties := object{}
	var required []string
	for _, name := range r.names {
		f := r.fields[name]
		p := j.node(f)
		field, err := j.schema.field(f)
		if err != nil {
			j.errs = append(j.errs, err)
		}
		p["description"] = field.Doc
		if field.Default != "" {
			p["description"] = field.Doc + " Default: " + field.Default + "."
			var value any
			if json.Unmarshal([]byte(field.Default), &value) == nil && !f.isStruct() {
				p["default"] = value
			}
		}
		var example any
		if json.Unmarshal([]byte(f.example), &example) == nil && !f.isStruct() && !f.secret {
			p["examples"] = []any{example}
		}
		properties[name] = p
		if f.required {
			required = append(required, name)
		}
	}
	o["properties"] = properties
	if len(required) > 0 && !j.part {
		o["required"] = required
	}
}

// leaf writes the rule of a plain value.
func (j *jsonSchemer) leaf(r *rule, v cue.Value) object {
	o := object{}
	switch v.IncompleteKind() {
	case cue.StringKind:
		o["type"] = "string"
	case cue.IntKind:
		o["type"] = "integer"
	case cue.BoolKind:
		o["type"] = "boolean"
	default:
		j.errs = append(j.errs, fmt.Errorf("%s: a value of kind %v has no JSON Schema", r.path, v.IncompleteKind()))
	}
	j.constrain(o, r, v)
	return o
}

// constrain adds what an expression of the schema demands. An arm that is an
// error is the message for values that break the others.
func (j *jsonSchemer) constrain(o object, r *rule, v cue.Value) {
	op, args := cue.Dereference(v).Expr()
	switch op {
	case cue.NoOp:
		if v.IsConcrete() {
			o["const"] = plainValue(v)
		}
	case cue.AndOp:
		for _, a := range args {
			j.constrain(o, r, a)
		}
	case cue.OrOp:
		var words []any
		var arms []cue.Value
		for _, a := range args {
			switch {
			case a.IsConcrete() && a.Err() == nil:
				words = append(words, plainValue(a))
			case a.Err() == nil:
				arms = append(arms, a)
			}
		}
		switch {
		case len(words) > 0 && len(arms) == 0:
			o["enum"] = words
		case len(words) == 0 && len(arms) == 1:
			j.constrain(o, r, arms[0])
		default:
			j.errs = append(j.errs, fmt.Errorf("%s: a choice of %d words and %d rules has no JSON Schema", r.path, len(words), len(arms)))
		}
	case cue.RegexMatchOp:
		pattern, _ := args[0].String()
		also(o, object{"pattern": ecmaPattern(pattern)})
	case cue.NotRegexMatchOp:
		pattern, _ := args[0].String()
		also(o, object{"not": object{"pattern": ecmaPattern(pattern)}})
	case cue.GreaterThanEqualOp:
		o["minimum"] = plainValue(args[0])
	case cue.LessThanEqualOp:
		o["maximum"] = plainValue(args[0])
	case cue.NotEqualOp:
		also(o, object{"not": object{"const": plainValue(args[0])}})
	default:
		j.errs = append(j.errs, fmt.Errorf("%s: an expression with %v has no JSON Schema", r.path, op))
	}
}

// also adds a demand beside others of its kind.
func also(o, demand object) {
	list, _ := o["allOf"].([]any)
	o["allOf"] = append(list, demand)
}

func plainValue(v cue.Value) any {
	if s, err := v.String(); err == nil {
		return s
	}
	b, _ := v.MarshalJSON()
	return json.RawMessage(b)
}

// classes are the one-letter names of Unicode classes as CUE (RE2) has them.
var classes = regexp.MustCompile(`\\p([A-Z])`)

// ecmaPattern writes a regular expression of CUE's as JavaScript has it, by which
// JSON Schema goes.
func ecmaPattern(pattern string) string {
	return classes.ReplaceAllString(pattern, `\p{$1}`)
}
