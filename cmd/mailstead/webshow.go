package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/control"
	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

// maxWebUsers is how many users a page shows, or sessions.
const maxWebUsers = 200

// ask asks the daemon.
func (d webDesk) ask(ctx context.Context, r control.Request) (control.Status, error) {
	s, err := control.Ask(ctx, render.ControlSocket(d.host.Paths), r)
	if err == nil && s.Error != "" {
		err = errors.New(s.Error)
	}
	return s, err
}

// status is what the daemon serves.
func (d webDesk) status(ctx context.Context) (*web.Status, error) {
	s := &web.Status{Host: d.host.Name}
	answer, err := d.ask(ctx, control.Request{Verb: control.VerbStatus})
	if err != nil {
		s.Problem = err.Error()
	}
	s.Version, s.Sessions = answer.Version, answer.Sessions
	for _, l := range answer.Listeners {
		s.Listeners = append(s.Listeners, web.Listener{Name: l.Name, Address: l.Address, TLS: l.TLS, Sessions: answer.On[l.Name]})
	}
	for _, b := range answer.Bundles {
		c := web.Certificate{Name: b.Name, Names: b.Names, Fingerprint: b.Fingerprint}
		if c.NotAfter, err = time.Parse(time.RFC3339, b.NotAfter); err == nil {
			c.Days = int(c.NotAfter.Sub(d.now).Hours() / 24)
		}
		s.Certificates = append(s.Certificates, c)
	}
	faults, err := readFaults(d.host)
	if err != nil {
		s.Notes = append(s.Notes, err.Error())
	}
	for _, f := range faults {
		s.Notes = append(s.Notes, fmt.Sprintf("The certificate %s was not brought into force since %s: %s", f.Certificate, f.Since.UTC().Format(time.DateTime), f.Fault))
	}
	return s, nil
}

// sessions is who is logged in at the mail server, or the sessions of that user.
func (d webDesk) sessions(ctx context.Context, user string) (*web.Sessions, error) {
	user = calledUser(d.host, user)
	answer, err := d.ask(ctx, control.Request{Verb: control.VerbSessions, User: user})
	if err != nil {
		return nil, err
	}
	s := &web.Sessions{All: len(answer.Connected), List: []web.Session{}}
	for _, c := range answer.Connected[:min(s.All, maxWebUsers)] {
		s.List = append(s.List, web.Session{ID: c.ID, User: c.User, Listener: c.Listener, Address: c.Address, Client: c.Client, Began: c.Began})
	}
	if s.All == 0 {
		err = unknownUser(d.host, user)
	}
	return s, err
}

func (d webDesk) endSession(ctx context.Context, by, id string) error {
	_, err := d.ask(ctx, control.Request{Verb: control.VerbEndSession, ID: id})
	d.log.Info("session ended at the page", "by", by, "session", brief(id), "err", err)
	return err
}

// maxHostUsers is how many users of each host are named where there are several.
const maxHostUsers = 50

// hosts is every host of the description as it is written: names, addresses and users
// alone. No other host is asked.
func (d webDesk) hosts() ([]web.Host, error) {
	if err := d.apart(); err != nil {
		return nil, err
	}
	s := d.source(nil)
	config, err := s.load()
	if err != nil {
		return nil, d.invalid(err)
	}
	list := []web.Host{}
	for _, host := range config.Hosts {
		h := web.Host{Name: host.Name, Here: host.Name == d.host.Name, All: len(host.Users)}
		for _, l := range host.Listeners {
			h.Listeners = append(h.Listeners, web.Listener{Name: l.Name, Address: net.JoinHostPort(cmp.Or(l.Address, "*"), strconv.Itoa(l.Port)), TLS: string(l.TLS)})
		}
		for _, u := range host.Users[:min(len(host.Users), maxHostUsers)] {
			h.Users = append(h.Users, u.Name)
		}
		list = append(list, h)
	}
	return list, nil
}

// users is who may log in, as the description was applied.
func (d webDesk) users(find string) (*web.Users, error) {
	made, _, err := readWebChanges(d.description)
	if err != nil {
		return nil, err
	}
	ours := made.of(d.host.Name).Users
	u := &web.Users{Find: find, All: len(d.host.Users), List: []web.User{}, Apart: d.apart() != nil}
	for _, user := range d.host.Users {
		if !strings.Contains(strings.ToLower(user.Name), strings.ToLower(find)) {
			continue
		}
		u.Found++
		if user.Name == find { // whatever else has it in the name
			u.List = slices.Insert(u.List, 0, webUserOf(user, ours[user.Name] != nil))
		} else if u.Found <= maxWebUsers {
			u.List = append(u.List, webUserOf(user, ours[user.Name] != nil))
		}
	}
	return u, nil
}

func webUserOf(user schema.User, ours bool) web.User {
	u := web.User{Name: user.Name, Sort: "virtual", Ours: ours}
	switch {
	case user.Elsewhere != "":
		u.Sort = web.Elsewhere
	case user.System != nil:
		u.Sort = "system"
	}
	if user.Quota != nil {
		u.Storage, u.Messages = user.Quota.Storage, user.Quota.Messages
	}
	for _, f := range user.Folders {
		u.Folders = append(u.Folders, f.Name)
	}
	return u
}

// usage asks in a session of the user how much mail there is.
func (d webDesk) usage(ctx context.Context, user string) (*control.Usage, error) {
	c, err := control.Session(ctx, render.ControlSocket(d.host.Paths), user)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(probeTimeout))
	client := imapclient.New(c, nil)
	defer client.Close()
	u := &control.Usage{}
	roots, err := client.GetQuotaRoot("INBOX").Wait()
	if err != nil {
		return nil, fmt.Errorf("quota of %s: %w", user, err)
	}
	for _, root := range roots {
		if r, ok := root.Resources["STORAGE"]; ok {
			u.Storage, u.StorageLimit = r.Usage*1024, r.Limit*1024
		}
		if r, ok := root.Resources["MESSAGE"]; ok {
			u.Messages, u.MessagesLimit = r.Usage, r.Limit
		}
	}
	return u, nil
}

// history is every generation.
func (d webDesk) history() ([]web.Past, error) {
	h, err := readHistory(generationsOf(d.host.Paths.State))
	if err != nil {
		return nil, err
	}
	list := []web.Past{}
	for _, gen := range h.Generations {
		list = append(list, web.Past{Number: gen.Number, At: gen.At, By: gen.By, Fate: h.fate(gen), Changes: changedKinds(gen), Current: gen.Number == h.Current})
	}
	return list, nil
}
