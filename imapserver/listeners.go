package imapserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// Listeners is the sockets to serve, by name of the listener. There may be
// several of one name: systemd has one for each ListenStream.
type Listeners map[string][]net.Listener

// Close closes all of them.
func (l Listeners) Close() {
	for _, each := range l {
		for _, socket := range each {
			socket.Close()
		}
	}
}

// status reports the sockets, in the order of the configuration.
func (l Listeners) status(c *config.Config) []control.Listener {
	var all []control.Listener
	for _, want := range c.Listeners {
		for _, socket := range l[want.Name] {
			all = append(all, control.Listener{Name: want.Name, Address: socket.Addr().String(), TLS: want.TLS})
		}
	}
	return all
}

// Bind binds the listeners of a configuration.
func Bind(c *config.Config) (Listeners, error) {
	l := Listeners{}
	for _, want := range c.Listeners {
		socket, err := net.Listen("tcp", net.JoinHostPort(want.Address, strconv.Itoa(want.Port)))
		if err != nil {
			l.Close()
			return nil, bindError(want, err)
		}
		l[want.Name] = []net.Listener{socket}
	}
	return l, nil
}

func bindError(l config.Listener, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listener %s: port %d is taken by another program: %w", l.Name, l.Port, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listener %s: a port below 1024 needs root, or a socket unit of systemd: %w", l.Name, err)
	}
	return fmt.Errorf("listener %s: %w", l.Name, err)
}

// Activated takes the sockets that systemd has passed, by the names that their
// units give them (FileDescriptorName); their order means nothing. It is nil
// where systemd has passed none.
func Activated(c *config.Config, log *slog.Logger) (Listeners, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return nil, nil
	}
	l, faults := adopt(c, files)
	if len(l) == 0 {
		return nil, errors.Join(faults...)
	}
	for _, fault := range faults {
		log.Error("socket units are not as configured", "err", fault)
	}
	return l, nil
}

// adopt makes listeners of sockets, whose files have their names and are closed. A socket too many or too
// few, as between two steps of an apply that was cut short or because a port is
// taken, is a fault that keeps the other listeners from nothing.
func adopt(c *config.Config, files []*os.File) (l Listeners, faults []error) {
	l = Listeners{}
	for _, f := range files {
		name := f.Name()
		socket, err := net.FileListener(f)
		f.Close()
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("socket %s: %w", name, err))
		case !configured(c, name):
			socket.Close()
			faults = append(faults, fmt.Errorf("socket %s is no listener of the configuration", name))
		default:
			l[name] = append(l[name], socket)
		}
	}
	for _, want := range c.Listeners {
		if len(l[want.Name]) == 0 {
			faults = append(faults, fmt.Errorf("listener %s: systemd has passed no socket of that name (FileDescriptorName)", want.Name))
		}
	}
	return l, faults
}

func configured(c *config.Config, name string) bool {
	for _, l := range c.Listeners {
		if l.Name == name {
			return true
		}
	}
	return false
}
