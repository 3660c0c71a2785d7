package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"mailstead/reconcile/desired"
	"mailstead/reconcile/target"
	"mailstead/schema"
)

// far is how the hosts of a run are reached, and what is said to all of them.
type far struct {
	fleet
	opts desired.Options
	key  []byte
}

// ssh says how a host is reached: what the command line says counts for more
// than the description.
func (f *far) ssh(host *schema.Host) target.SSH {
	s := target.SSH{Address: host.Name, Sudo: f.sudo, Program: path.Join(host.Paths.Bin, "mailstead")}
	if _, user, ok := strings.Cut(f.via, ":"); ok {
		s.User = strings.TrimSuffix(user, "@")
	}
	return s
}

// open connects to a host, and makes sure that this very program is there.
func (f *far) open(ctx context.Context, host *schema.Host) (*target.Remote, error) {
	s := f.ssh(host)
	r, err := s.Open(ctx)
	var missing *target.MissingError
	if errors.As(err, &missing) {
		return nil, hint(err, "install mailstead %s there, or say in paths: bin where it is", ownVersion())
	}
	if err != nil {
		return nil, err
	}
	if h := r.Hello; h.Protocol != target.Protocol || h.Version != ownVersion() {
		r.Close()
		return nil, hint(fmt.Errorf("mailstead on %s is %s, and this one is %s", s.Address, h.Version, ownVersion()),
			"install the same version at both ends")
	}
	return r, nil
}

// request is what a host is told of itself. Secrets go through ssh's standard
// input, and nowhere else.
func (f *far) request(host *schema.Host) remoteRequest {
	return remoteRequest{Host: host, Hashes: hashesOf(host), Rootless: f.opts.Rootless, Key: f.key}
}

// call asks a host, and gives what it answers.
func call(ctx context.Context, r *target.Remote, verb string, q remoteRequest, said func(string)) (remoteAnswer, error) {
	var a remoteAnswer
	if err := r.Call(ctx, verb, q, &a, said); err != nil {
		return a, err
	}
	if a.Fault != nil {
		return a, a.Fault.err()
	}
	return a, nil
}

// plan is the planner of hosts that are reached by ssh.
func (f *far) plan(ctx context.Context, host *schema.Host) (p hostPlan) {
	r, err := f.open(ctx, host)
	if err != nil {
		p.err = err
		return p
	}
	defer r.Close()
	a, err := call(ctx, r, verbPlan, f.request(host), nil)
	switch {
	case err != nil:
		p.err = err
	case a.Plan == nil || len(a.Steps) != len(a.Plan.Changes) || a.Plan.Host != host.Name:
		p.err = fmt.Errorf("mailstead on %s gave no plan of this host", host.Name)
	default:
		p.plan, p.steps = a.Plan, a.Steps
	}
	return p
}
