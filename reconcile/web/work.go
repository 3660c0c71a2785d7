package web

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// workPath is the page of what a session has begun and of what has come of it.
const workPath = "/admin/work"

// workWait is how long that page waits for the end: most plans are made by then, and
// are what a browser shows first. maxSaid bounds what is told meanwhile, in octets.
const (
	workWait = time.Second
	maxSaid  = 64 << 10
)

// work is something that takes its time. It goes on without the browser: what came of an
// apply is not lost with a connection.
type work struct {
	title string
	show  func(http.ResponseWriter, *request, AdminAnswer)

	done   chan struct{} // closed once answer and err are there
	answer AdminAnswer
	err    error

	mu   sync.Mutex
	said string
}

// say is told what is being done.
func (k *work) say(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.said)+len(text) <= maxSaid {
		k.said += text
	}
}

// ended waits until it is, for as long as that.
func (k *work) ended(ctx context.Context, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-k.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// begins has a session do this, unless it is still at something else.
func (s *sessions) begins(e *session, k *work) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.work != nil {
		select {
		case <-e.work.done:
		default:
			return false
		}
	}
	e.work = k
	return true
}

// workOf gives what a session has begun last, nil for nothing.
func (s *sessions) workOf(e *session) *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.work
}

// beginWork asks what needs root, and leads to the page that shows what comes of it.
func (s *Server) beginWork(w http.ResponseWriter, q *request, title string, r AdminRequest, show func(http.ResponseWriter, *request, AdminAnswer)) {
	r.Token, r.Remote = q.session.token, q.remote()
	k := &work{title: title, show: show, done: make(chan struct{})}
	if !s.sessions.begins(q.session, k) {
		s.done(w, q, workPath, "This is still being done. What you have sent meanwhile was not begun.")
		return
	}
	ctx := context.WithoutCancel(q.Context())
	go func() {
		defer close(k.done)
		k.answer, k.err = s.admin(ctx, r, k.say)
	}()
	http.Redirect(w, q.Request, workPath, http.StatusSeeOther)
}

// workView is what is seen of work that goes on.
type workView struct{ Said string }

func (s *Server) showWork(w http.ResponseWriter, q *request) {
	k := s.sessions.workOf(q.session)
	switch {
	case k == nil:
		http.Redirect(w, q.Request, "/admin", http.StatusSeeOther)
	case !k.ended(q.Context(), workWait):
		k.mu.Lock()
		said := k.said
		k.mu.Unlock()
		s.show(w, q, http.StatusOK, "work", view{Title: k.title, Body: workView{said}})
	case k.err != nil:
		s.log.Error("page not answered", "path", q.URL.Path, "err", k.err)
		s.show(w, q, http.StatusServiceUnavailable, "outcome", view{
			Title: "Not known", Fault: "There was no answer. Drift says what the host is now, and History what was applied.", Body: &Outcome{},
		})
	case k.answer.Over:
		s.answered(w, q, true, nil)
	default:
		k.show(w, q, k.answer)
	}
}
