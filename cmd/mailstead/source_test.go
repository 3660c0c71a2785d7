package main

import (
	"testing"

	"mailstead/schema"
)

func TestPickHost(t *testing.T) {
	hosts := func(names ...string) *schema.Config {
		c := &schema.Config{}
		for _, n := range names {
			c.Hosts = append(c.Hosts, &schema.Host{Name: n})
		}
		return c
	}
	for _, test := range []struct {
		config        *schema.Config
		name, machine string
		want, err     string
	}{
		{hosts("a.example"), "", "elsewhere", "a.example", ""},
		{hosts("a.example", "b.example"), "", "b.example", "b.example", ""},
		{hosts("a.example", "b.example"), "", "b", "b.example", ""},
		{hosts("a.example", "b.example"), "a.example", "b.example", "a.example", ""},
		{hosts("b.example", "b.example.net"), "", "b", "", "the description has several hosts, and none is named like this machine (b)"},
		{hosts("a.example", "b.example"), "", "c", "", "the description has several hosts, and none is named like this machine (c)"},
		{hosts("a.example"), "b.example", "a.example", "", `the description has no host "b.example"`},
		{hosts("a.example"), "a", "a.example", "", `the description has no host "a"`},
		{hosts(), "", "a.example", "", "the description has no host"},
	} {
		host, err := pickHost(test.config, test.name, test.machine)
		switch {
		case test.err == "" && err == nil && host.Name == test.want:
		case test.err != "" && err != nil && err.Error() == test.err:
		default:
			t.Errorf("pickHost(--host %q, machine %q) = %v, %v; want %q, %q", test.name, test.machine, host, err, test.want, test.err)
		}
	}
}
