package login

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/handoff"
)

// TestMain is also the clients of BenchmarkIdle, which hold their memory in
// another process.
func TestMain(m *testing.M) {
	if addr := os.Getenv("LOGIN_TEST_CLIENTS"); addr != "" {
		holdClients(addr, os.Getenv("LOGIN_TEST_TLS") == "1")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holdClients logs one client in for each line of stdin, and holds all of them.
func holdClients(addr string, secure bool) {
	var held []net.Conn
	var b [1]byte
	for {
		if _, err := os.Stdin.Read(b[:]); err != nil {
			for _, c := range held {
				c.Close()
			}
			return
		}
		c, err := net.Dial("tcp", addr)
		if err == nil && secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		if err == nil {
			_, err = io.WriteString(c, "a LOGIN alice right\r\n")
		}
		said := make([]byte, 0, 1024)
		for err == nil && !strings.Contains(string(said), "a OK") {
			var n int
			n, err = c.Read(said[len(said):cap(said)])
			said = said[:len(said)+n]
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		held = append(held, c)
		fmt.Println("in")
	}
}

// keep is an Opener that answers and keeps the stream, at the price of a
// descriptor.
type keep struct {
	mu   sync.Mutex
	kept []*os.File
}

func (k *keep) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, o.Stream)
	_, err = o.Stream.WriteString(o.Tag + " OK in\r\n")
	return func() {}, err
}

// resident is this process's memory, once all that can be has been given back.
func resident(b *testing.B) int {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkIdle reports the memory that one connection costs which is logged in
// and silent.
func BenchmarkIdle(b *testing.B) {
	const clients = 1000
	for _, listener := range []string{"plain", "imaps"} {
		b.Run(listener, func(b *testing.B) {
			s := start(b, func(l *Limits) { l.PerUser, l.PerUserSource, l.PerSource, l.NewMinute = 1<<30, 1<<30, 1<<30, 1<<30 })
			s.opener = &keep{}
			cmd := exec.Command(os.Args[0])
			secure := "0"
			if listener == "imaps" {
				secure = "1"
			}
			cmd.Env = append(os.Environ(), "LOGIN_TEST_CLIENTS="+s.addr[listener], "LOGIN_TEST_TLS="+secure)
			in, err := cmd.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { in.Close(); cmd.Wait() })
			more := func(n int) {
				answer := make([]byte, 3)
				for range n {
					io.WriteString(in, "\n")
					if _, err := io.ReadFull(out, answer); err != nil || string(answer) != "in\n" {
						b.Fatalf("%q %v", answer, err)
					}
				}
			}
			more(50)
			before, held := resident(b), 0
			begun := time.Now()
			for range b.N {
				more(clients)
				held += clients
			}
			b.ReportMetric(float64(held)/time.Since(begun).Seconds(), "logins/s")
			b.ReportMetric(float64(resident(b)-before)/float64(held), "B/conn")
		})
	}
}
