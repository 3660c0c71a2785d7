package auth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// fakes is a HelperSource whose helpers answer as the password says.
type fakes struct {
	started, killed atomic.Int64
	fail            error
	remote          atomic.Value // of the last question
	dieAfter        int          // questions that a helper answers before it is gone; 0: all
}

func (f *fakes) Start(context.Context) (*Helper, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	f.started.Add(1)
	ours, file, err := handoff.StreamPair()
	if err != nil {
		return nil, err
	}
	theirs, err := handoff.Stream(file)
	if err != nil {
		return nil, err
	}
	go f.serve(theirs)
	return &Helper{Pipe: ours, Kill: sync.OnceFunc(func() { f.killed.Add(1); theirs.Close() })}, nil
}

func (f *fakes) serve(c net.Conn) {
	defer c.Close()
	for n := 0; f.dieAfter == 0 || n < f.dieAfter; n++ {
		var r handoff.PAMRequest
		if handoff.ReadFrame(c, &r) != nil {
			return
		}
		f.remote.Store(r.Remote)
		switch r.Password {
		case "hang":
			handoff.ReadFrame(c, &r) // until it is killed
			return
		case "die":
			return
		case "flood":
			for {
				if _, err := c.Write([]byte(strings.Repeat("\xff", 4096))); err != nil {
					return
				}
			}
		case "slow":
			time.Sleep(50 * time.Millisecond)
		}
		result := handoff.PAMResult(r.Password)
		if r.Password == "slow" {
			result = handoff.PAMOK
		}
		if handoff.WriteFrame(c, handoff.PAMAnswer{Result: result, Detail: "detail"}) != nil {
			return
		}
	}
}

func pamLimits() Limits {
	l := Default
	l.Delay, l.MaxDelay, l.HelperTimeout = 0, 0, 100*time.Millisecond
	l.SourceMinute, l.SourceDay, l.AccountMinute, l.AccountDay = 1e6, 1e6, 1e6, 1e6
	return l
}

func TestPAM(t *testing.T) {
	f := &fakes{}
	a, log := newAuth(t, pamLimits(), f, config.User{Name: "alice"})
	for password, want := range map[string]handoff.Verdict{
		"ok":      {User: "alice"},
		"refused": {Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."},
		"expired": {Code: "EXPIRED", Text: "Your password or account has expired."},
		"account": {Code: "AUTHORIZATIONFAILED", Text: "Your account may not be used here now."},
		"error":   {Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."},
		"bogus":   {Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."},
		"hang":    {Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."},
		"die":     {Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."},
		"flood":   {Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."},
	} {
		if v, _ := try(a, "192.0.2.1", "alice", password); v != want {
			t.Errorf("%s: %+v", password, v)
		}
	}
	if v, _ := try(a, "192.0.2.1", "mallory", "ok"); v.User != "" {
		t.Error("PAM was asked about someone who is no user here")
	}
	if started, killed := f.started.Load(), f.killed.Load(); started-killed > 1 {
		t.Errorf("%d helpers started and %d killed", started, killed)
	}
	if strings.Contains(log.String(), "flood") {
		t.Errorf("a password in %s", log)
	}
	a.Close()
	if started, killed := f.started.Load(), f.killed.Load(); started != killed {
		t.Errorf("%d of %d helpers are left", started-killed, started)
	}
	if v, _ := try(a, "192.0.2.1", "alice", "ok"); v.Code != "UNAVAILABLE" {
		t.Errorf("after Close: %+v", v)
	}
}

// PAM is told the client's address, and none where a login is explained as nobody's.
func TestPAMRemote(t *testing.T) {
	f := &fakes{}
	a, _ := newAuth(t, pamLimits(), f, config.User{Name: "alice"})
	for _, addr := range []string{"192.0.2.1", ""} {
		remote, _ := netip.ParseAddr(addr)
		if _, _, known := a.Explain(t.Context(), Question{User: "alice", Password: "ok", Remote: remote}); !known || f.remote.Load() != addr {
			t.Errorf("%q: PAM was told %q", addr, f.remote.Load())
		}
	}
}

// TestHelperHangs lets others log in while one login hangs.
func TestHelperHangs(t *testing.T) {
	f := &fakes{}
	l := pamLimits()
	l.HelperTimeout = 500 * time.Millisecond
	a, _ := newAuth(t, l, f, config.User{Name: "alice"})
	hung := make(chan handoff.Verdict)
	go func() {
		v, _ := try(a, "192.0.2.1", "alice", "hang")
		hung <- v
	}()
	start := time.Now()
	for range 5 {
		if v, _ := try(a, "192.0.2.2", "alice", "ok"); v.User != "alice" {
			t.Errorf("%+v", v)
		}
	}
	if d := time.Since(start); d > 400*time.Millisecond {
		t.Errorf("the others had to wait %v", d)
	}
	if v := <-hung; v.Code != "UNAVAILABLE" {
		t.Errorf("%+v", v)
	}
}

// TestHelperHasDied tries once more with another helper when an idle one turns
// out to be gone.
func TestHelperHasDied(t *testing.T) {
	f := &fakes{dieAfter: 1}
	a, log := newAuth(t, pamLimits(), f, config.User{Name: "alice"})
	for i := range 4 {
		if v, _ := try(a, "192.0.2.1", "alice", "ok"); v.User != "alice" {
			t.Errorf("login %d: %+v", i, v)
		}
		time.Sleep(2 * time.Millisecond) // for the helper to be gone
	}
	if f.started.Load() != 4 {
		t.Errorf("%d helpers started; log: %s", f.started.Load(), log)
	}
}

func TestHelpersAreBounded(t *testing.T) {
	f := &fakes{}
	l := pamLimits()
	l.Helpers, l.IdleHelpers, l.HelperTimeout = 3, 2, 5*time.Second
	a, _ := newAuth(t, l, f, config.User{Name: "alice"})
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if v, _ := try(a, "192.0.2.1", "alice", "slow"); v.User != "alice" {
				t.Errorf("%+v", v)
			}
			if n := f.started.Load() - f.killed.Load(); n > 3 {
				t.Errorf("%d helpers at once", n)
			}
		})
	}
	all.Wait()
	if n := f.started.Load() - f.killed.Load(); n != 2 {
		t.Errorf("%d idle helpers", n)
	}
	a.Renew()
	if n := f.started.Load() - f.killed.Load(); n != 0 {
		t.Errorf("%d helpers of the old configuration are left", n)
	}
	if v, _ := try(a, "192.0.2.1", "alice", "ok"); v.User != "alice" {
		t.Errorf("after Renew: %+v", v)
	}
}

func TestHelperGrowsOld(t *testing.T) {
	f := &fakes{}
	l := pamLimits()
	l.HelperLogins = 2
	a, _ := newAuth(t, l, f, config.User{Name: "alice"})
	for range 6 {
		try(a, "192.0.2.1", "alice", "ok")
	}
	if f.started.Load() != 3 {
		t.Errorf("%d helpers for 6 logins", f.started.Load())
	}
}

func TestNoHelper(t *testing.T) {
	for name, source := range map[string]HelperSource{"none": nil, "does not start": &fakes{fail: errors.New("secret path")}} {
		a, log := newAuth(t, pamLimits(), source, config.User{Name: "alice"})
		v, _ := try(a, "192.0.2.1", "alice", "ok")
		if v.Code != "UNAVAILABLE" || strings.Contains(v.Text, "secret") {
			t.Errorf("%s: %+v", name, v)
		}
		if !strings.Contains(log.String(), "reason=") {
			t.Errorf("%s: log: %s", name, log)
		}
	}
}

// lastMoment is a context that ends right after it was looked whether it has.
type lastMoment struct {
	context.Context
	end context.CancelFunc
}

func (l lastMoment) Err() error {
	defer l.end()
	return l.Context.Err()
}

// TestHelperGivenUp: a login that is given up as its answer comes leaves no deadline to
// the next login of its helper.
func TestHelperGivenUp(t *testing.T) {
	h, err := (&fakes{}).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer h.end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := lastMoment{ctx, cancel}
	answer, err := h.ask(last, handoff.PAMRequest{Password: "ok"}, time.Minute)
	if answer.Result != handoff.PAMOK || err != nil {
		t.Fatalf("%+v %v", answer, err)
	}
	h.Pipe.SetDeadline(time.Now().Add(time.Minute)) // of the next
	last.Err()
	time.Sleep(50 * time.Millisecond)
	read := make(chan error, 1)
	go func() {
		_, err := h.Pipe.Read(make([]byte, 1))
		read <- err
	}()
	select {
	case err := <-read:
		t.Errorf("the next login: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}
