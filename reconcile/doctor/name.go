package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// nameTimeout bounds the question for one name; there may be hundreds of them, so
// that some are asked at once.
const (
	nameTimeout = 5 * time.Second
	namesAtOnce = 16
)

// Name is a name by which clients are to find the host.
type Name struct {
	Name   string
	Origin string
}

// Resolver gives the addresses of a name, as net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Resolved is what there is to a name.
type Resolved struct {
	Name
	Addresses []netip.Addr
	Err       error
}

// Resolve asks for all names. The answers are in their order.
func Resolve(ctx context.Context, r Resolver, names []Name) []Resolved {
	all := make([]Resolved, len(names))
	free := make(chan struct{}, namesAtOnce)
	var asking sync.WaitGroup
	for i, n := range names {
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(ctx, nameTimeout)
			defer cancel()
			list, err := r.LookupNetIP(ctx, "ip", n.Name)
			for i := range list {
				list[i] = list[i].Unmap()
			}
			all[i] = Resolved{n, list, err}
		})
	}
	asking.Wait()
	return all
}

// Judge says what is wrong with a name. own is the addresses of this host; nil
// where that is another one, and any address may be right.
func (r Resolved) Judge(own map[netip.Addr]bool) []Finding {
	subject := "name " + r.Name.Name
	var dns *net.DNSError
	switch {
	case errors.As(r.Err, &dns) && dns.IsNotFound:
		return []Finding{New(NameUnknown, subject, "it has no address").At(r.Origin)}
	case r.Err != nil:
		return []Finding{New(NameUnknown, subject, r.Err.Error()).At(r.Origin).As(Warning).Do("Find out why no name server answers (/etc/resolv.conf).")}
	case own == nil:
		return nil
	}
	var elsewhere []string
	local := 0
	for _, a := range r.Addresses {
		switch {
		case a.IsLoopback():
			local++
		case !own[a]:
			elsewhere = append(elsewhere, a.String())
		}
	}
	if len(elsewhere) > 0 {
		return []Finding{New(NameElsewhere, subject, "it leads to "+strings.Join(elsewhere, ", ")+", which this host does not have").At(r.Origin)}
	}
	if local == len(r.Addresses) {
		return []Finding{New(NameLocal, subject, fmt.Sprintf("it leads to %s", r.Addresses[0])).At(r.Origin)}
	}
	return nil
}

// OwnAddresses gives the addresses of this host.
func OwnAddresses() (map[netip.Addr]bool, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return own, nil
}
