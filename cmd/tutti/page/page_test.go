package page

import (
	"strings"
	"testing"
)

func example() *Page {
	return &Page{Title: "A & B", Parts: []Part{
		{Heading: "Costs", Text: "One `a b`, **two** and *three*.\n\nTwo <b>.", Table: &Table{Head: []string{"", "a", "b"}, Rows: [][]string{{"bytes", "1", "2"}}}},
		{Heading: "Curve", Chart: &Chart{X: "ms", Y: "%", Series: []Series{{Name: "</script>", Points: [][2]float64{{1, 2}}}}}},
	}}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := example().Markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := "# A & B\n\n## Costs\n\nOne `a b`, **two** and *three*.\n\nTwo <b>.\n\n|  | a | b |\n|---|---:|---:|\n| bytes | 1 | 2 |\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// The page holds all that it needs, and no text in it becomes markup.
func TestHTML(t *testing.T) {
	var b strings.Builder
	if err := example().HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"A &amp; B", "<p>One <code>a b</code>, <strong>two</strong> and <em>three</em>.</p>", "Two &lt;b&gt;.", "<td>bytes</td><td>1</td>", `<div id="chart1">`, `"chart1":{`, "uPlot"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if strings.Count(page, "</script>") != 2 {
		t.Error("the name of a series ends the script")
	}
	if strings.Contains(page, "src=") || strings.Contains(page, "href=") {
		t.Error("the page wants something from outside")
	}
}
