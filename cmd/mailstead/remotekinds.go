package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// checkKinds stops at the first value of a request that cannot be where it is. encoding/json
// goes on to the end before it says so, and makes room for a user for each number in a list
// where users should be.
func checkKinds(body []byte, q any) error {
	k := kinds{json.NewDecoder(bytes.NewReader(body)), map[reflect.Type]map[string]reflect.Type{}}
	k.UseNumber()
	return k.value(reflect.TypeOf(q))
}

// kinds reads JSON beside the type that it is to become.
type kinds struct {
	*json.Decoder
	fields map[reflect.Type]map[string]reflect.Type // of structs, by name in small letters
}

// value reads one of a type. Whether a number is too large or a text no base64 is not looked at.
func (k kinds) value(t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := k.Token()
	if err != nil {
		return err
	}
	fits := true
	switch kind := t.Kind(); v := token.(type) {
	case json.Delim:
		switch {
		case v == '[' && kind == reflect.Slice:
			return k.all(func() (reflect.Type, error) { return t.Elem(), nil })
		case v == '{' && (kind == reflect.Struct || kind == reflect.Map):
			return k.all(func() (reflect.Type, error) { return k.field(t) })
		}
		fits = false
	case string:
		fits = kind == reflect.String || kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8
	case json.Number:
		fits = kind >= reflect.Int && kind <= reflect.Float64
	case bool:
		fits = kind == reflect.Bool
	}
	if !fits {
		return fmt.Errorf("what ends at octet %d cannot be a %v", k.InputOffset(), t)
	}
	return nil
}

// all reads the values up to the end of a list or an object.
func (k kinds) all(next func() (reflect.Type, error)) error {
	for k.More() {
		t, err := next()
		if err != nil {
			return err
		}
		if err := k.value(t); err != nil {
			return err
		}
	}
	_, err := k.Token()
	return err
}

// field reads the name of a value in an object, and gives the type that the value has.
func (k kinds) field(t reflect.Type) (reflect.Type, error) {
	token, err := k.Token()
	if err != nil {
		return nil, err
	}
	if t.Kind() == reflect.Map {
		return t.Elem(), nil
	}
	if k.fields[t] == nil {
		k.fields[t] = map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			k.fields[t][strings.ToLower(name)] = f.Type // also of one that the decoder does not know, and refuses
		}
	}
	name, _ := token.(string)
	f, ok := k.fields[t][strings.ToLower(name)] // as encoding/json takes them
	if !ok {
		return nil, fmt.Errorf("json: unknown field %.100q", name) // the words of encoding/json
	}
	return f, nil
}
