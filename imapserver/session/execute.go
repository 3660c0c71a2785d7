package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// execute runs a command and answers it. It gives the errors that end the
// session.
func (s *session) execute(ctx context.Context, req wire.Request) error {
	if i := slices.IndexFunc(req.Uses, s.off); i >= 0 {
		e := bad("unknown command")
		if req.Uses[i] != req.Row.Cap {
			e.Text = req.Row.Name + ": unknown argument"
		}
		s.w.Error(req.Tag, e)
		return s.countBad(e)
	}
	s.byUID = strings.HasPrefix(req.Row.Name, "UID ")
	s.need = needOf(req.Row.Name)
	defer s.giveBack()
	var code imap.ResponseCode
	err := s.authorize(req)
	if err == nil {
		err = s.numbered(req)
	}
	if err == nil {
		err = s.implied(req)
	}
	if err == nil {
		code, err = s.dispatch(ctx, req)
	}
	if fatal(err) {
		return err
	}
	if e := s.tell(ctx, req.Flags()); fatal(e) {
		return e
	} else if err == nil {
		err = e
	}
	if err == nil {
		s.bad = 0
		if code == "" {
			code = s.removedCode(req.Row)
		}
		s.w.Status(req.Tag, imap.StatusResponseTypeOK, code, req.Row.Name+" completed")
		if _, ok := req.Command.(*wire.Compress); ok {
			return s.startCompression()
		}
		return nil
	}
	e := s.convert(req.Row.Name, err)
	s.w.Error(req.Tag, e)
	return s.countBad(e)
}

// fatal tells the errors after which there is nobody to answer, or nothing to
// say that he could take for an answer.
func fatal(err error) bool {
	var bye *wire.ByeError
	var lost *lostError
	return errors.As(err, &bye) || errors.As(err, &lost) || errors.Is(err, errLogout) || errors.Is(err, errUnauthenticated)
}

// lostError is an error of the connection in the middle of a command.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// lost marks an error of reading: an answer to the client stays what it is.
func lost(err error) error {
	var refused *imap.Error
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return &lostError{err}
}

// dispatch runs a command. What it gives becomes the tagged response: OK with
// a code, or the error as convert makes it.
func (s *session) dispatch(ctx context.Context, req wire.Request) (imap.ResponseCode, error) {
	switch c := req.Command.(type) {
	case wire.Capability:
		return s.capability()
	case wire.Noop, wire.Check: // the row's flags say what they do
		return "", nil
	case wire.Logout:
		return s.logout(req.Tag)
	case wire.Unauthenticate:
		return s.unauthenticate(req.Tag)
	case *wire.ID:
		return s.id(c)
	case *wire.Enable:
		return s.enable(c)
	case *wire.Select:
		return s.selectMailbox(ctx, c)
	case *wire.Create:
		return s.create(ctx, c)
	case *wire.Delete:
		return s.delete(ctx, c)
	case *wire.Rename:
		return s.rename(ctx, c)
	case *wire.Subscribe:
		return s.subscribe(ctx, c)
	case *wire.List:
		return s.list(ctx, req.Tag, c)
	case wire.Namespace:
		return s.namespace()
	case *wire.Status:
		return s.status(ctx, c)
	case *wire.GetQuota:
		return s.getQuota(c)
	case *wire.GetQuotaRoot:
		return s.getQuotaRoot(ctx, c)
	case *wire.SetQuota:
		return s.setQuota(c)
	case *wire.GetACL:
		return s.getACL(ctx, c)
	case *wire.SetACL:
		return s.setACL(ctx, c)
	case *wire.DeleteACL:
		return s.deleteACL(ctx, c)
	case *wire.ListRights:
		return s.listRights(ctx, c)
	case *wire.MyRights:
		return s.myRights(ctx, c)
	case *wire.GetMetadata:
		return s.getMetadata(ctx, c)
	case *wire.SetMetadata:
		return s.setMetadata(ctx, c)
	case *wire.Append:
		return s.append(ctx, c)
	case *wire.Compress:
		return s.compress()
	case wire.Idle:
		return s.idle(ctx)
	case *wire.Notify:
		return s.setNotify(ctx, c)
	case *wire.ESearch:
		return s.searchMailboxes(ctx, req.Tag, c)
	}
	return s.dispatchSelected(ctx, req)
}

// dispatchSelected runs a command that needs a selected mailbox.
func (s *session) dispatchSelected(ctx context.Context, req wire.Request) (imap.ResponseCode, error) {
	switch c := req.Command.(type) {
	case wire.Close:
		return s.close(ctx)
	case wire.Unselect:
		return s.unselect()
	case *wire.Expunge:
		return s.expunge(ctx, c)
	case *wire.Search:
		return s.search(ctx, req.Tag, c)
	case *wire.Sort:
		return s.sort(ctx, req.Tag, c)
	case *wire.Thread:
		return s.thread(ctx, req.Tag, c)
	case *wire.CancelUpdate:
		return s.cancelUpdate(c)
	case *wire.Fetch:
		return s.fetch(ctx, c)
	case *wire.Store:
		return s.store(ctx, c)
	case *wire.Copy:
		return s.copy(ctx, req.Tag, c)
	case *wire.UIDBatches:
		return s.uidBatches(req.Tag, c)
	case *wire.Replace:
		return s.replace(ctx, c)
	}
	return "", errors.New("no code for this command")
}
