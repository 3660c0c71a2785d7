package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// placeholder stands for the name of the user in DNs and filters.
const placeholder = "{user}"

// ldapDirectory asks LDAP servers (RFC 4511): a user is who can bind. Where their
// DN is follows from the name, or an account of ours looks for it first.
type ldapDirectory struct {
	config  config.Directory
	timeout time.Duration
	queue   *queue
	search  *ldapPool // bound as the account that searches; nil where the DN follows from the name
	binds   *ldapPool // bound as whoever has logged in last
}

func newLDAP(c config.Directory, l Limits, log *slog.Logger) *ldapDirectory {
	d := &ldapDirectory{config: c, timeout: time.Duration(c.LDAP.Timeout) * time.Second, queue: newQueue(c.LDAP.Connections, l.Queue)}
	dial := newDialer(*c.LDAP, log)
	d.binds = newLDAPPool(c.LDAP.Connections, dial.dial)
	if c.LDAP.User == "" {
		d.search = newLDAPPool(c.LDAP.Connections, dial.account)
	}
	return d
}

func (d *ldapDirectory) line() *queue { return d.queue }

func (d *ldapDirectory) close() {
	d.binds.close()
	if d.search != nil {
		d.search.close()
	}
}

// check lets in who can bind with the password.
func (d *ldapDirectory) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	// A bind without a password is answered with success whoever it is
	// (RFC 4513 §5.1.2).
	if c.Password == "" {
		return config.User{}, refused.because("no password")
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	entry, f := d.entry(ctx, c)
	if f != good {
		return config.User{}, f
	}
	return d.user(entry, c.User)
}

// user is what an entry says of a user.
func (d *ldapDirectory) user(entry *ldap.Entry, name string) (config.User, finding) {
	s, err := d.said(entry, name)
	if err == nil {
		var u config.User
		if u, err = row(d.config, s); err == nil {
			return u, good
		}
	}
	return config.User{}, unavailable(err)
}

// find asks for a user without their password, where an account of ours may.
func (d *ldapDirectory) find(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	if d.search == nil {
		return config.User{}, unasked
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	entry, f := d.lookUp(ctx, c.User)
	if f != good {
		return config.User{}, f
	}
	return d.user(entry, c.User)
}

// entry gives the entry of who can bind with the password.
func (d *ldapDirectory) entry(ctx context.Context, c *handoff.Credentials) (*ldap.Entry, finding) {
	if d.search == nil {
		return d.bindThenRead(ctx, c)
	}
	entry, f := d.lookUp(ctx, c.User)
	if f != good {
		return nil, f
	}
	return entry, d.bind(ctx, entry.DN, c.Password, nil)
}

// lookUp searches for the entry of a user, of whom there has to be one.
func (d *ldapDirectory) lookUp(ctx context.Context, user string) (*ldap.Entry, finding) {
	var entries []*ldap.Entry
	err := d.search.use(ctx, func(c *ldap.Conn) error {
		var err error
		entries, err = d.read(c, d.config.LDAP.Base, ldap.ScopeWholeSubtree, user)
		return err
	})
	return d.only(entries, err)
}

// only gives the entry where there is exactly one. Who of two it is must not be
// left to the order in which a server gives them.
func (d *ldapDirectory) only(entries []*ldap.Entry, err error) (*ldap.Entry, finding) {
	switch {
	case len(entries) > 1 || ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return nil, unavailable(fmt.Errorf("directory %s: the filter finds several entries of that name", d.config.Name))
	case err != nil:
		return nil, unavailable(fmt.Errorf("directory %s: read: %w", d.config.Name, err))
	case len(entries) == 0:
		return nil, unknown
	}
	return entries[0], good
}

// bindThenRead binds under the DN that the name makes, and reads as that user.
func (d *ldapDirectory) bindThenRead(ctx context.Context, c *handoff.Credentials) (*ldap.Entry, finding) {
	dn := strings.ReplaceAll(d.config.LDAP.User, placeholder, ldap.EscapeDN(c.User))
	var entries []*ldap.Entry
	var err error
	f := d.bind(ctx, dn, c.Password, func(conn *ldap.Conn) error {
		entries, err = d.read(conn, dn, ldap.ScopeBaseObject, c.User)
		if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights) {
			err = fmt.Errorf("users may not read their own entry: %w", err)
		}
		return nil
	})
	if f != good {
		return nil, f
	}
	entry, f := d.only(entries, err)
	if f == unknown {
		f = refused.because("the filter does not find the user's entry")
	}
	return entry, f
}

// bind finds whether a DN has that password. Then, if it is given, goes on with
// the connection as that user.
func (d *ldapDirectory) bind(ctx context.Context, dn, password string, then func(*ldap.Conn) error) finding {
	var answer error
	err := d.binds.use(ctx, func(c *ldap.Conn) error {
		if answer = c.Bind(dn, password); answer == nil && then != nil {
			return then(c)
		}
		if answered(answer) {
			return nil // which is no fault of the connection
		}
		return answer
	})
	if err != nil {
		return d.fault(err)
	}
	return d.judged(answer)
}

// read reads entries with what they say of users: two are as many as too many.
func (d *ldapDirectory) read(c *ldap.Conn, base string, scope int, user string) ([]*ldap.Entry, error) {
	filter := strings.ReplaceAll(d.config.LDAP.Filter, placeholder, ldap.EscapeFilter(user))
	r := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 2, int(d.timeout/time.Second), false, filter, d.config.LDAP.Attributes.Names(), nil)
	r.EnforceSizeLimit = true
	result, err := c.Search(r)
	if err != nil {
		return nil, err
	}
	return result.Entries, nil // and no referral is followed
}

// judged is the finding that an answer to a user's bind means. What is no answer
// about the user is the directory's own fault.
func (d *ldapDirectory) judged(err error) finding {
	switch {
	case err == nil:
		return good
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultConstraintViolation,
		ldap.LDAPResultUnwillingToPerform): // of an account that is disabled
		return refused.because("LDAP: " + reason(err))
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax):
		return unknown
	}
	return d.fault(err)
}

func (d *ldapDirectory) fault(err error) finding {
	return unavailable(fmt.Errorf("directory %s: %w", d.config.Name, err))
}

// answered says whether an error is an answer of the server's; those from 200 on
// are the library's own.
func answered(err error) bool {
	var e *ldap.Error
	return err == nil || errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork
}

// reason is an answer for the log.
func reason(err error) string {
	var e *ldap.Error
	if errors.As(err, &e) {
		return ldap.LDAPResultCodeMap[e.ResultCode]
	}
	return err.Error()
}

// said gives what an entry says of a user.
func (d *ldapDirectory) said(e *ldap.Entry, user string) (said, error) {
	a := d.config.LDAP.Attributes
	s := said{name: strings.ToLower(user)} // servers do not tell them from capitals
	var faults []error
	if a.Name != "" {
		var err error
		if s.name, err = ownName(e.GetEqualFoldAttributeValues(a.Name), user); err != nil {
			return s, fmt.Errorf("directory %s: %s of %q %w", d.config.Name, a.Name, e.DN, err)
		}
	}
	for _, each := range []struct {
		attribute string
		to        *string
	}{{a.UID, &s.uid}, {a.GID, &s.gid}, {a.Home, &s.home}, {a.Maildir, &s.maildir}, {a.Quota, &s.quota}, {a.Elsewhere, &s.elsewhere}} {
		if each.attribute == "" {
			continue
		}
		values := e.GetEqualFoldAttributeValues(each.attribute)
		if len(values) > 1 {
			faults = append(faults, fmt.Errorf("directory %s: %s of %q has %d values", d.config.Name, each.attribute, e.DN, len(values)))
		} else if len(values) == 1 {
			*each.to = values[0]
		}
	}
	return s, errors.Join(faults...)
}

// ownName gives the name that a user has in the directory, however they have
// written it: servers do not tell capitals from small letters, and Maildirs do.
func ownName(values []string, user string) (string, error) {
	for _, v := range values {
		if strings.EqualFold(v, user) {
			return v, nil
		}
	}
	if len(values) != 1 {
		return "", fmt.Errorf("has %d values, and none is the name that was given", len(values))
	}
	return values[0], nil
}
