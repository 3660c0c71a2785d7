package session

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// compressed switches a connection to COMPRESS and gives what the server says.
func compressed(t *testing.T, c *peer) *bufio.Reader {
	t.Helper()
	c.want("COMPRESS DEFLATE", "a OK COMPRESS completed")
	return bufio.NewReader(flate.NewReader(c.br))
}

// partial is what zlib makes of these lines where each is flushed by
// Z_PARTIAL_FLUSH: not even whole octets.
var partial = []struct{ octets, answer string }{
	{"\x4a\x54\xf0\xf3\xf7\x0f\xe0\xe5\x02\x08", "a OK NOOP completed\r\n"},
	{"\xa0\x24\x05\xc7\x80\x00\x57\x3f\x17\x05\x4f\x3f\x27\xff\x08\x85\x6a\x43\x83\x5a\x5e\x2e\x80\x00", "+ go ahead\r\n"},
	{"\x0a\x2e\x4d\xca\x4a\x4d\x2e\xb1\x52\xa8\xe0\xe5\x02\x08", ""}, // the line after the literal's octets is not whole
}

func TestCompressPartialFlush(t *testing.T) {
	c := newServer(t).connect()
	r := compressed(t, c)
	for _, p := range partial {
		if _, err := io.WriteString(c.conn, p.octets); err != nil {
			t.Fatal(err)
		}
		if p.answer == "" {
			break
		}
		line, err := r.ReadString('\n')
		if line != p.answer {
			t.Fatalf("%q is answered by %q, %v", p.octets, line, err)
		}
	}
}

// A command that was sent behind COMPRESS is read compressed, even where it came
// with it.
func TestCompressPipelined(t *testing.T) {
	c := newServer(t).connect()
	var b bytes.Buffer
	b.WriteString("a COMPRESS DEFLATE\r\n")
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "b NOOP\r\n")
	w.Flush()
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if line, err := c.br.ReadString('\n'); line != "a OK COMPRESS completed\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := bufio.NewReader(flate.NewReader(c.br)).ReadString('\n'); line != "b OK NOOP completed\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// What comes out of little may be much: it meets the limits that everyone meets.
func TestCompressBomb(t *testing.T) {
	c := newServer(t).connect()
	r := compressed(t, c)
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	n := 64 << 20
	if testing.Short() {
		n /= 8
	}
	io.WriteString(w, "b LIST \"\" "+strings.Repeat("x", n)+"\r\n")
	w.Flush()
	go c.conn.Write(b.Bytes())
	said, err := io.ReadAll(r)
	if !strings.Contains(string(said), "* BYE command too long") {
		t.Errorf("%q, %v", said, err)
	}
}

// stuck is a connection whose client takes nothing.
type stuck struct{ reached, end chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	s.reached <- struct{}{}
	<-s.end
	return 0, io.ErrClosedPipe
}

// A client that takes nothing holds no compressor, of which each has 800 KiB.
func TestCompressStalled(t *testing.T) {
	const clients = 20
	s := stuck{make(chan struct{}), make(chan struct{})}
	said := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(said)
	before := heap()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { deflater{s}.Write(said) })
		<-s.reached
	}
	if each := (heap() - before) / clients; each > 300<<10 {
		t.Errorf("a client that takes nothing holds %d KiB", each>>10)
	}
	close(s.end)
	all.Wait()
}
