package bench

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"time"
)

// RareWord stands in the text of each hundredth message.
const RareWord = "quixotish"

// epoch is the date of message 0; the others are five minutes apart.
var epoch = time.Date(2020, 1, 1, 8, 0, 0, 0, time.UTC)

// Corpus makes messages: message i depends on the seed and on i alone.
type Corpus struct {
	seed  int64
	words []string
}

// NewCorpus makes one of 2,500 words.
func NewCorpus(seed int64) *Corpus {
	r := rand.New(rand.NewSource(seed))
	syllables := strings.Fields("ba co di fe gu ha jo ki le mu na po qui re si to vu wa xe yo zi an er or us")
	c := &Corpus{seed: seed}
	for range 2500 {
		var w strings.Builder
		for range 1 + r.Intn(4) {
			w.WriteString(syllables[r.Intn(len(syllables))])
		}
		c.words = append(c.words, w.String())
	}
	return c
}

// Word is word n, the common ones first.
func (c *Corpus) Word(n int) string { return c.words[n] }

// Date is when message i was sent.
func (c *Corpus) Date(i int) time.Time { return epoch.Add(time.Duration(i) * 5 * time.Minute) }

// draw is the numbers of which one aspect of message i is made.
func (c *Corpus) draw(aspect, i int) *rand.Rand {
	return rand.New(rand.NewSource(c.seed*1_000_003 + int64(aspect)*500_000_000 + int64(i)*7_919))
}

const (
	aspectParent = iota
	aspectText
	aspectSubject
	aspectFlags
	aspectPlain
)

// parent is the message that message i answers, or -1: 55 of 100 are answers.
func (c *Corpus) parent(i int) int {
	r := c.draw(aspectParent, i)
	if i == 0 || r.Float64() < 0.45 {
		return -1
	}
	return i - 1 - r.Intn(min(i, 40))
}

func (c *Corpus) id(i int) string { return fmt.Sprintf("<m%d.%d@bench.example>", i, c.seed) }

// Flags is the suffix of the name of message i.
func (c *Corpus) Flags(i int) string {
	r := c.draw(aspectFlags, i)
	suffix := ":2,"
	for _, f := range []struct {
		flag  string
		share float64
	}{{"F", 0.05}, {"R", 0.1}, {"S", 0.7}} {
		if r.Float64() < f.share {
			suffix += f.flag
		}
	}
	return suffix
}

// phrase is n words; the square has some of them common and most of them not.
func (c *Corpus) phrase(r *rand.Rand, n int) string {
	words := make([]string, n)
	for i := range words {
		f := r.Float64()
		words[i] = c.words[int(f*f*float64(len(c.words)))]
	}
	return strings.Join(words, " ")
}

// prose writes about n octets of lines.
func (c *Corpus) prose(b *bytes.Buffer, r *rand.Rand, n int) {
	for end := b.Len() + n; b.Len() < end; {
		b.WriteString(c.phrase(r, 9+r.Intn(3)))
		if r.Intn(8) == 0 {
			b.WriteString(".\n")
		}
		b.WriteByte('\n')
	}
}

// Message is message i with LF line ends, as a Maildir has it: 1 to 50 KB,
// 5 KB on average; 3 of 10 have parts.
func (c *Corpus) Message(i int) []byte {
	r := c.draw(aspectText, i)
	size := max(1000, min(int(3400*math.Exp(0.9*r.NormFloat64())), 50_000))
	var b bytes.Buffer
	c.header(&b, r, i)
	var text bytes.Buffer
	if i%100 == 37 {
		text.WriteString("The word " + RareWord + " stands here.\n")
	}
	switch {
	case i%10 < 7:
		charset, encoding := "us-ascii", "7bit"
		if i%10 == 3 {
			charset, encoding = "utf-8", "8bit"
			text.WriteString("Mit freundlichen Grüßen aus Österreich, naïve café.\n")
		}
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=%s\nContent-Transfer-Encoding: %s\n\n", charset, encoding)
		c.prose(&text, r, size-b.Len())
		b.Write(text.Bytes())
	case i%10 < 9:
		c.prose(&text, r, (size-b.Len())/2)
		writeAlternative(&b, i, text.Bytes())
	default:
		c.prose(&text, r, 600)
		raw := make([]byte, max(64, (size-b.Len())*3/4))
		r.Read(raw)
		writeAttachment(&b, i, text.Bytes(), raw)
	}
	return b.Bytes()
}

// header writes the fields that every message has.
func (c *Corpus) header(b *bytes.Buffer, r *rand.Rand, i int) {
	root, parent := i, c.parent(i)
	var refs []string
	for p := parent; p >= 0; p = c.parent(p) {
		root = p
		if len(refs) < 10 {
			refs = append([]string{c.id(p)}, refs...)
		}
	}
	s := c.draw(aspectSubject, root)
	subject := c.phrase(s, 3+s.Intn(5))
	if s.Intn(20) == 0 {
		subject = "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte("Grüße: "+subject)) + "?="
	}
	if parent >= 0 {
		subject = "Re: " + subject
	}
	from, date := r.Intn(200), c.Date(i).Format(time.RFC1123Z)
	fmt.Fprintf(b, "Return-Path: <p%d@bench.example>\n", from)
	fmt.Fprintf(b, "Received: from mx%d.bench.example (mx%[1]d.bench.example [192.0.2.%d])\n\tby mail.bench.example with ESMTP id %08x\n\tfor <user@bench.example>; %s\n",
		r.Intn(9), r.Intn(250)+1, r.Uint32(), date)
	fmt.Fprintf(b, "Date: %s\nFrom: \"Person %d\" <p%[2]d@bench.example>\n", date, from)
	fmt.Fprintf(b, "To: User <user@bench.example>, \"Person, %d\" <p%[1]d@bench.example>\n", r.Intn(200))
	if r.Intn(4) == 0 {
		fmt.Fprintf(b, "Cc: list%d@bench.example\n", r.Intn(20))
	}
	fmt.Fprintf(b, "Subject: %s\nMessage-ID: %s\n", subject, c.id(i))
	if parent >= 0 {
		fmt.Fprintf(b, "In-Reply-To: %s\nReferences: %s\n", c.id(parent), strings.Join(refs, "\n\t"))
	}
	fmt.Fprintf(b, "User-Agent: bench/1\nX-Spam-Score: %.1f\nMIME-Version: 1.0\n", r.Float64()*5)
}

// writeAlternative writes text and the same as HTML.
func writeAlternative(b *bytes.Buffer, i int, text []byte) {
	boundary := fmt.Sprintf("=_alternative_%d", i)
	fmt.Fprintf(b, "Content-Type: multipart/alternative; boundary=\"%s\"\n\n", boundary)
	fmt.Fprintf(b, "--%s\nContent-Type: text/plain; charset=utf-8\n\n%s\n", boundary, text)
	fmt.Fprintf(b, "--%s\nContent-Type: text/html; charset=utf-8\n\n<html><body><p>%s</p></body></html>\n--%s--\n",
		boundary, bytes.ReplaceAll(text, []byte("\n"), []byte("<br>\n")), boundary)
}

// writeAttachment writes text and an attachment in base64.
func writeAttachment(b *bytes.Buffer, i int, text, raw []byte) {
	boundary := fmt.Sprintf("=_mixed_%d", i)
	fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=\"%s\"\n\n", boundary)
	fmt.Fprintf(b, "--%s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n%s\n", boundary, text)
	fmt.Fprintf(b, "--%s\nContent-Type: application/octet-stream; name=\"file%d.bin\"\n", boundary, i)
	fmt.Fprintf(b, "Content-Disposition: attachment; filename=\"file%d.bin\"\nContent-Transfer-Encoding: base64\n\n", i)
	enc := base64.StdEncoding.EncodeToString(raw)
	for len(enc) > 76 {
		b.WriteString(enc[:76])
		b.WriteByte('\n')
		enc = enc[76:]
	}
	fmt.Fprintf(b, "%s\n--%s--\n", enc, boundary)
}

// Plain is a message of about n octets with CRLF line ends, to be appended.
func (c *Corpus) Plain(i, n int) []byte {
	r := c.draw(aspectPlain, i)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Date: %s\nFrom: <a@bench.example>\nTo: <b@bench.example>\nSubject: %s\nMessage-ID: %s\n\n",
		c.Date(i).Format(time.RFC1123Z), c.phrase(r, 5), c.id(i))
	for b.Len() < n-80 {
		b.WriteString(c.phrase(r, 9) + "\n")
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
}
