package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mailstead/schema"
)

// calledUser gives the name of the user whom somebody means, in whatever capitals. A name
// that nobody has stays what it is.
func calledUser(host *schema.Host, name string) string {
	if u, ok := called(host.Users, func(u schema.User) string { return u.Name }, name); ok {
		return u.Name
	}
	return name
}

// called gives the user whom somebody means by the order of a login: the one whose name
// is spelt so, else the one in small letters, else the only one that there is.
func called[U any](users []U, nameOf func(U) string, name string) (user U, ok bool) {
	small := strings.ToLower(name)
	var alike []U
	for _, u := range users {
		switch n := nameOf(u); {
		case n == name:
			return u, true
		case n == small:
			user, ok = u, true
		case strings.ToLower(n) == small:
			alike = append(alike, u)
		}
	}
	if !ok && len(alike) == 1 {
		return alike[0], true
	}
	return user, ok
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
