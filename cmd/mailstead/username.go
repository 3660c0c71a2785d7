package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mailstead/schema"
)

// calledUser gives the name of the user whom somebody means, in whatever capitals, by the
// order of a login: the one that is spelt so, else the one in small letters, else the
// only one that there is. Any other name stays what it is.
func calledUser(host *schema.Host, name string) string {
	small := strings.ToLower(name)
	var alike []string
	for _, u := range host.Users {
		switch {
		case u.Name == name:
			return name
		case strings.ToLower(u.Name) == small:
			alike = append(alike, u.Name)
		}
	}
	switch {
	case slices.Contains(alike, small):
		return small
	case len(alike) == 1:
		return alike[0]
	}
	return name
}

// nearUser gives the name of the user whom a mistyped one most likely stands for, or an
// address of one who logs in without the domain; "" for nobody, name for who is there.
func nearUser(host *schema.Host, name string) string {
	names := userNames(host)
	local, _, _ := strings.Cut(name, "@")
	for _, n := range []string{name, local} {
		if slices.Contains(names, n) {
			return n
		}
	}
	return cmp.Or(schema.Nearest(name, names), schema.Nearest(local, names))
}

// unknownUser is the fault of a name that none of the host's users has, nil where a
// directory may know it, or none is given.
func unknownUser(host *schema.Host, name string) error {
	near := nearUser(host, name)
	if name == "" || near == name || len(host.Directories) > 0 {
		return nil
	}
	err := fmt.Errorf("no user %q on this host", name)
	if near != "" {
		return hint(err, "did you mean %q?", near)
	}
	return hint(err, "the users are those of the description that was applied")
}
