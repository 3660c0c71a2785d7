package web

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// contrast is what stands on what in the style sheet, and how much they have to differ
// (WCAG 2.2 AA: 1.4.3 for text, 1.4.11 for the edges of controls).
var contrast = []struct {
	front, back string
	least       float64
}{
	{"text", "back", 4.5}, {"text", "card", 4.5},
	{"muted", "back", 4.5}, {"muted", "card", 4.5},
	{"link", "back", 4.5}, {"link", "card", 4.5},
	{"act-text", "act", 4.5},
	{"good", "good-back", 4.5}, {"good", "card", 4.5},
	{"bad", "bad-back", 4.5}, {"bad", "back", 4.5}, {"bad", "card", 4.5},
	{"edge", "back", 3}, {"edge", "card", 3}, {"act", "back", 3}, {"act", "card", 3},
}

func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(string(styleSheet), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	for name, sheet := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(sheet, -1) {
			colours[m[1]] = luminance(m[2])
		}
		for _, row := range contrast {
			a, known := colours[row.front]
			b, also := colours[row.back]
			if !known || !also {
				t.Errorf("%s: no %s or no %s", name, row.front, row.back)
				continue
			}
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < row.least {
				t.Errorf("%s: %s on %s: %.2f, less than %.1f", name, row.front, row.back, got, row.least)
			}
		}
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2, "relative luminance").
func luminance(hex string) float64 {
	channel := func(at int) float64 {
		n, _ := strconv.ParseUint(hex[at:at+2], 16, 8)
		if c := float64(n) / 255; c > 0.04045 {
			return math.Pow((c+0.055)/1.055, 2.4)
		} else {
			return c / 12.92
		}
	}
	return 0.2126*channel(0) + 0.7152*channel(2) + 0.0722*channel(4)
}

// Every colour in the sheet is one of the variables, so that the pairs above are all.
func TestColoursAreVariables(t *testing.T) {
	rules := regexp.MustCompile(`(?m)^\s*--[a-z-]+:.*$`).ReplaceAllString(string(styleSheet), "")
	for i, line := range strings.Split(rules, "\n") {
		if m := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|\b(rgb|hsl)a?\(`).FindString(line); m != "" && !strings.Contains(line, "/*") {
			t.Error(fmt.Sprint("line ", i+1, ": ", m))
		}
	}
}

// everyPage gives each page by its name, with all in it that there can be.
func everyPage(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, page := range pages() {
		body := bodies[name]
		filled(reflect.ValueOf(body).Elem(), "x")
		var b strings.Builder
		if err := page.Execute(&b, view{As: asAdmin, Body: body}); err != nil {
			t.Fatal(err)
		}
		all[name] = b.String()
	}
	return all
}

// elements gives those of a page that have that attribute.
func elements(t *testing.T, text, key, value string) (all []*html.Node) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if attribute(n, key) == value {
			all = append(all, n)
		}
	}
	return all
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// byKeyboard tells whether the keyboard comes to an element.
func byKeyboard(n *html.Node) bool {
	return n.Data == "a" || n.Data == "button" || attribute(n, "tabindex") == "0"
}

// What is wider than a phone can be scrolled without a pointer (WCAG 2.1.1): there is
// something in it to go to by keyboard, or it is that itself and says what it is.
func TestScrollByKeyboard(t *testing.T) {
	found := 0
	for name, text := range everyPage(t) {
		for _, n := range elements(t, text, "class", "scroll") {
			found++
			itself := byKeyboard(n) && attribute(n, "role") == "region" && attribute(n, "aria-label") != ""
			within := false
			for c := range n.Descendants() {
				within = within || byKeyboard(c)
			}
			if itself == within {
				t.Errorf("%s: of a table the keyboard comes to nothing, or to too much: %v", name, n.Attr)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d tables", found)
	}
}

// Whoever is in the middle of a page that refreshes itself stays there: htmx goes back to
// what has the same id.
func TestFocusStays(t *testing.T) {
	found := 0
	for name, text := range everyPage(t) {
		for _, n := range elements(t, text, "id", "live") {
			found++
			for c := range n.Descendants() {
				if byKeyboard(c) && attribute(c, "id") == "" {
					t.Errorf("%s: %s %v has no id", name, c.Data, c.Attr)
				}
			}
		}
	}
	if found != 3 {
		t.Errorf("%d pages refresh themselves", found)
	}
}

// TestDates: on a phone, where a column is narrow, no date of a table and no time of day is
// parted at its hyphens and spaces.
func TestDates(t *testing.T) {
	if !strings.Contains(string(styleSheet), ".one { white-space: nowrap; }") {
		t.Error("nothing stays in one line")
	}
	parted := regexp.MustCompile(`<td>0001-01-01|[^>:]00:00 UTC`)
	dates := 0
	for name, text := range everyPage(t) {
		dates += strings.Count(text, `<span class="one">0001-01-01</span>`)
		if where := parted.FindString(text); where != "" {
			t.Errorf("%s: %q", name, where)
		}
	}
	if dates < 8 {
		t.Errorf("%d dates", dates)
	}
}
