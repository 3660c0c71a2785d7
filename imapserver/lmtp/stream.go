package lmtp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"mailstead/imapserver/deliver"
)

// maxHead bounds the lines that front and worker send each other. A head has some
// 2,300 octets of names, three of them addresses, of each of which JSON may make six.
const maxHead = 16 << 10

// head is the first line from the front to a worker: what follows it.
type head struct {
	ID        string `json:"id"`
	Sender    string `json:"sender"`
	Recipient string `json:"recipient"`
	Received  string `json:"received"`
	Octets    int64  `json:"octets"`
}

// answer is the worker's line: a message that is on disk, or why it is not.
type answer struct {
	Done  bool   `json:"done"`
	Fault string `json:"fault,omitempty"`
}

// mailbox is a Recipient whose worker has the other end of a socket pair.
type mailbox struct {
	address string
	stream  *net.UnixConn
}

// Close lets the worker go.
func (b *mailbox) Close() { b.stream.Close() }

// Deliver hands the message over, and waits for the answer.
func (b *mailbox) Deliver(ctx context.Context, m Message) error {
	defer context.AfterFunc(ctx, func() { b.stream.SetDeadline(time.Unix(1, 0)) })()
	line, err := json.Marshal(head{ID: m.ID, Sender: m.Sender, Recipient: b.address, Received: m.Received, Octets: m.Octets})
	if err != nil {
		return err
	}
	if _, err := b.stream.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if _, err := io.Copy(b.stream, io.NewSectionReader(m.Text, 0, m.Octets)); err != nil {
		// It may have said why it takes no more.
		b.stream.SetReadDeadline(time.Now().Add(time.Second))
	}
	said, err := bufio.NewReaderSize(io.LimitReader(b.stream, maxHead), maxHead).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no answer whether the message is there: %w", err)
	}
	var a answer
	if err := json.Unmarshal(said, &a); err != nil {
		return fmt.Errorf("no answer whether the message is there: %w", err)
	}
	if !a.Done {
		return deliver.ParseFault(a.Fault)
	}
	return nil
}

// receive reads one message from a front. It is read to its end, or not there.
func receive(conn io.Reader) (head, io.Reader, error) {
	r := bufio.NewReaderSize(conn, maxHead)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return head{}, nil, fmt.Errorf("read what the front says: %w", err)
	}
	var h head
	if err := json.Unmarshal(line, &h); err != nil || h.Octets < 0 {
		return head{}, nil, errors.New("what the front says makes no sense")
	}
	return h, &exactly{r, h.Octets}, nil
}

// exactly reads so many octets, and fails where there are fewer.
type exactly struct {
	r io.Reader
	n int64
}

// Read reads.
func (e *exactly) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	if errors.Is(err, io.EOF) && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
